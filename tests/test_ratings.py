"""Ratings of completions: what judges are asked, how they are read, what is made of it."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import plain
import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from endpoints import KEY, answering, completion, endpoint, fault
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from study import make_study, planned, snakemake

from steerpaper.engine.text import token_ids
from steerpaper.engine.turns import render
from steerpaper.errors import UserError
from steerpaper.judges.endpoint import AnswerCache, EndpointJudge
from steerpaper.judges.judge import Question, parse_rating
from steerpaper.judges.local import LocalJudge
from steerpaper.paper.numbers import of_table, reading
from steerpaper.stats import Interval, clustered_interval
from steerpaper.steering.rating_prompts import RatingPrompt, rating_prompts, read_rating
from steerpaper.steering.ratings import Rater, prepare, rate
from steerpaper.steering.tables.agreement import kappa_interval, weighted_kappa
from steerpaper.steering.tables.ratings import ratings_tables
from steerpaper.workflow.config import validated
from steerpaper.workflow.declared import rows_of
from steerpaper.workflow.job import Job

INTERVAL = Interval(seed=1, resamples=400, confidence=0.95)
RATING = RatingPrompt(0, 10, "Rate it.\nQuestion: {question}\nAnswer: {answer}", "One number.")
CAA = ["coordinate-other-ais", "corrigible-neutral-HHH", "hallucination", "myopic-reward"]
CAA += ["refusal", "survival-instinct", "sycophancy"]


# reading an answer


@pytest.mark.parametrize(
    ("answer", "rating"),
    [
        *[("7", 7), (" 7\n", 7), ("7.5", 7.5), ("7.", 7), ("**7**", 7), ("0", 0), ("10", 10)],
        *[("Rating: 7", 7), ("score = 7", 7), ("**Rating:** 7", 7), ("Rating: **7/10**.", 7)],
        *[("7/10", 7), ("7 / 10", 7), ("7 out of 10", 7), ("10/10", 10)],
        # prose, though it holds a number
        *[("I would say 7", None), ("The answer is 7.", None), ("7 because it is warm", None)],
        *[("7, or 8", None), ("7-8", None), ("7 8", None), ("7\n\nIt is warm.", None)],
        # not on the scale, or of another one
        *[("11", None), ("-1", None), ("70%", None), ("7/5", None), ("3.5/5", None)],
        *[("", None), ("seven", None), ("٧", None), ("1e1", None), ("7,5", None), ("nan", None)],
        *[("inf", None), ("1*0", None), ("0x7", None), ("+7", None), ("N/A", None)],
    ],
)
def test_a_rating_is_one_number_on_the_scale_and_nothing_is_guessed(answer, rating):
    assert parse_rating(answer, 0, 10) == rating


def test_the_scale_may_begin_below_zero():
    assert parse_rating("-2", -3, 3) == -2
    assert parse_rating("-2/3", -3, 3) == -2
    assert parse_rating("4", -3, 3) is None


@given(st.text(max_size=12), st.integers(-5, 5), st.integers(1, 10))
def test_any_answer_is_a_number_on_the_scale_or_none(answer, lowest, width):
    found = parse_rating(answer, lowest, lowest + width)
    assert found is None or lowest <= found <= lowest + width


# what is asked


def test_a_question_and_a_completion_stand_where_the_prompt_says_and_are_no_prompt_themselves():
    asked = RATING.of("Is {answer} tea?", "It is {question}, {0} and {behavior}.")
    expected = "Rate it.\nQuestion: Is {answer} tea?\nAnswer: It is {question}, {0} and {behavior}."
    assert asked == expected


def samples(n_questions=3, multipliers=(-1.0, 0.0, 1.0)):
    """Completions of a few questions, a greedy and a sampled one at each multiplier."""
    return pd.DataFrame(
        [
            {
                "prompt_id": f"q{question}",
                "layer": 2 if multiplier else -1,
                "multiplier": multiplier,
                "decoding": decoding,
                "sample": 0,
                "text": f"{decoding} answer {question} at {multiplier:g}",
            }
            for question in range(n_questions)
            for multiplier in multipliers
            for decoding in ("greedy", "sample")
        ]
    )


def asked_about(behavior="calm", rating=RATING, **sizes):
    table = samples(**sizes)
    questions = {name: f"What, {behavior}, about {name}?" for name in table["prompt_id"].unique()}
    return list(rating_prompts(table, questions, rating, behavior=behavior))


def test_every_completion_is_asked_about_once_whatever_its_decoding():
    rows = asked_about()
    assert len(rows) == len(samples())
    assert {row["decoding"] for row in rows} == {"greedy", "sample"}
    assert rows[1]["question"] == (
        "Rate it.\nQuestion: What, calm, about q0?\nAnswer: sample answer 0 at -1"
    )
    assert (rows[0]["lowest"], rows[0]["highest"], rows[0]["system"]) == (0, 10, "One number.")


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "data/behaviors").glob("*.rating.yaml")),
        *(ROOT / f"studies/caa-2023/{name}.rating.yaml" for name in CAA),
    ],
    ids=lambda path: path.name,
)
def test_the_project_s_rating_files_ask_for_a_number_from_0_to_10(path):
    rating = read_rating(path)
    assert (rating.lowest, rating.highest) == (0, 10)
    asked = rating.of("Why tea?", "Because it is warm.")
    assert "Question:\nWhy tea?\n\nAnswer:\nBecause it is warm." in asked
    assert "0" in asked
    assert "10" in asked
    assert "number" in asked + (rating.system or "")


def test_every_behavior_of_the_project_and_of_the_paper_has_a_rating_file():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for name, behavior in config["behaviors"].items():
        assert behavior["rating"] == f"data/behaviors/{name}.rating.yaml"
    for name in CAA:
        assert (ROOT / f"studies/caa-2023/{name}.rating.yaml").exists()


def asked_to_rate(raters, rows):
    """The judges' ratings, as the script has them."""
    prepare(raters, rows)
    return rate(raters, rows)


def read_or_said(path):
    """A rating file as it is read, or the message that refuses it."""
    try:
        return read_rating(path)
    except UserError as error:
        return str(error)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["scale", "prompt", "system", "x"]), inner, max_size=3
            )
        ),
        max_leaves=6,
    )
)
def test_any_rating_file_is_read_or_refused_in_one_message(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "tea.rating.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    found = read_or_said(path)
    if isinstance(found, str):
        assert "tea.rating.yaml" in found
    else:
        assert found.lowest < found.highest


# the local judge


def local(lm, **changes):
    options = {"max_new_tokens": 4, "budget": 1024, "section": "steering.ratings"} | changes
    return LocalJudge(lm, **options)


@pytest.fixture
def roomy(load_tiny):
    def load(name):
        return replace(load_tiny(name), context=None if name != "gpt2" else 256)

    return load


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "qwen2"])
def test_a_local_judges_answers_equal_plain_greedy_decoding(roomy, name):
    lm = roomy(name)
    rows = asked_about(n_questions=2, multipliers=(0.0, 1.0))
    table = asked_to_rate([Rater(local(lm), 1)], rows)
    for row, answer in zip(rows, table["answer"], strict=True):
        asked = f"One number.\n\n{row['question']}"
        ids = token_ids(lm.tokenizer, render(lm.tokenizer, asked, None, source="").text)
        expected = plain.greedy(lm, ids, None, {}, 4)
        assert answer == lm.tokenizer.decode(expected, skip_special_tokens=True)


def test_a_local_judges_ratings_are_the_same_to_the_byte_for_any_budget_and_order(roomy):
    rows = asked_about(n_questions=2)
    first, again = (
        asked_to_rate([Rater(local(roomy("llama"), budget=b), 1)], rows) for b in (64, 4096)
    )
    pd.testing.assert_frame_equal(first, again)
    backwards = asked_to_rate([Rater(local(roomy("llama")), 1)], rows[::-1])
    pd.testing.assert_frame_equal(first, backwards[::-1].reset_index(drop=True))


def test_a_completion_that_a_judge_cannot_read_whole_is_counted_as_not_rated(load_tiny, caplog):
    lm = replace(load_tiny("llama"), context=130)
    rows = asked_about(n_questions=1, multipliers=(1.0,))
    rows[1]["question"] += " long" * 150
    with caplog.at_level("WARNING"):
        table = asked_to_rate([Rater(local(lm), 1)], rows)
    assert table["answer"][0] != ""
    assert table["answer"][1] == ""
    assert np.isnan(table["rating"][1])
    assert "answers are no rating" in caplog.text


# endpoints


def asker(url, tmp_path, name="answers", **changes):
    options = {"section": "steering.ratings.endpoint", "fewer": "steering.completions.samples"}
    at = endpoint(url, **options | changes)
    return EndpointJudge(at, AnswerCache(tmp_path / f"{name}.jsonl"), max_new_tokens=10)


@pytest.mark.long
def test_a_real_server_rates_as_the_local_model_does_and_a_second_run_asks_nothing(
    server, model_folders, roomy, tmp_path, monkeypatch
):
    rows = [{**row, "system": None} for row in asked_about(n_questions=2, multipliers=(1.0,))]
    judge = asker(server, tmp_path, model=str(model_folders["llama"]))
    table = asked_to_rate([Rater(judge, 1)], rows)
    own = local(roomy("llama"), max_new_tokens=10)
    expected = own.write([row["question"] for row in rows])
    assert list(table["answer"]) == expected
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == len(rows)

    def refuse(self, request):
        raise AssertionError("asked again")

    monkeypatch.setattr(EndpointJudge, "_completion", refuse)
    again = asked_to_rate(
        [Rater(asker(server, tmp_path, model=str(model_folders["llama"])), 1)], rows
    )
    pd.testing.assert_frame_equal(again, table)


def test_an_endpoint_is_asked_at_temperature_0_with_the_system_message_and_the_question(tmp_path):
    rows = asked_about(n_questions=1, multipliers=(1.0,))
    with answering(lambda *_: completion("7")) as (url, requests):
        table = asked_to_rate([Rater(asker(url, tmp_path), 1)], rows)
    assert list(table["rating"]) == [7, 7]
    assert {request["temperature"] for request in requests} == {0}
    assert {request["max_tokens"] for request in requests} == {10}
    assert sorted(request["messages"][1]["content"] for request in requests) == sorted(
        row["question"] for row in rows
    )
    assert requests[0]["messages"][0] == {"role": "system", "content": "One number."}


def test_answers_in_prose_are_kept_and_counted_and_no_number_is_taken_out_of_them(tmp_path, caplog):
    def prose(number, body):
        greedy = "greedy" in body["messages"][1]["content"]
        return completion("I would give it a 7 out of 10." if greedy else "3")

    with answering(prose) as (url, _), caplog.at_level("WARNING"):
        table = asked_to_rate([Rater(asker(url, tmp_path), 1)], asked_about())
    assert "m: 9 of 18 answers are no rating" in caplog.text
    assert table["rating"].isna().sum() == 9
    assert set(table["answer"]) == {"I would give it a 7 out of 10.", "3"}
    found = ratings_tables(table, {}, interval=INTERVAL)["ratings"]
    assert list(found["value"]) == [3, 3, 3]
    assert list(found["unparsed"]) == [3, 3, 3]
    assert all("unparsed" in flags for flags in found["flags"])


def test_a_rate_limit_is_waited_for_and_the_answer_comes(tmp_path):
    replies = {1: fault(429), 2: fault(503)}
    with answering(lambda number, _: replies.get(number, completion("4"))) as (url, seen):
        judge = asker(url, tmp_path, retries=3, parallel=1)
        table = asked_to_rate([Rater(judge, 1)], asked_about(n_questions=1, multipliers=(1.0,)))
    assert list(table["rating"]) == [4, 4]
    assert len(seen) == 4


def test_a_second_pass_asks_anew_and_is_kept_beside_the_first(tmp_path):
    rows = asked_about(n_questions=2, multipliers=(1.0,))
    with answering(lambda number, _: completion(str(number))) as (url, seen):
        table = asked_to_rate([Rater(asker(url, tmp_path, parallel=1), 2)], rows)
        assert len(seen) == 2 * len(rows)
        again = asked_to_rate([Rater(asker(url, tmp_path), 2)], rows)
        assert len(seen) == 2 * len(rows)
        first = asked_to_rate([Rater(asker(url, tmp_path), 1)], rows)
    pd.testing.assert_frame_equal(again, table)
    assert list(table["pass"]) == [1] * 4 + [2] * 4
    assert list(table["rating"]) == [1, 2, 3, 4, 5, 6, 7, 8]
    pd.testing.assert_frame_equal(first, table[:4])


def test_nothing_is_asked_of_any_judge_where_one_would_need_more_than_its_cap(tmp_path):
    rows = asked_about(n_questions=2, multipliers=(1.0,))
    with answering(lambda *_: completion("5")) as (url, seen):
        raters = [
            Rater(asker(url, tmp_path, "one"), 1),
            Rater(asker(url, tmp_path, "two", model="n", max_requests=7), 2),
        ]
        said = r"steering\.ratings\.endpoint\.max_requests: 8 requests are needed, 7 allowed, none"
        with pytest.raises(UserError, match=said):
            asked_to_rate(raters, rows)
        assert not seen
        assert not list(tmp_path.iterdir())
        raters[1] = Rater(asker(url, tmp_path, "two", model="n", max_requests=8), 2)
        asked_to_rate(raters, rows)
        assert len(seen) == 12


def test_requests_and_their_price_are_shown_before_the_first_one(tmp_path, caplog):
    shown = []

    def answer(number, _):
        shown.append(len(caplog.records))
        return completion("5")

    rows = asked_about(n_questions=2)
    with caplog.at_level("INFO"), answering(answer) as (url, _):
        asked_to_rate([Rater(asker(url, tmp_path, price=(1.0, 2.0)), 1)], rows)
    characters = sum(len(row["question"]) + len(row["system"]) for row in rows)
    cost = characters / 4 / 1e6 + len(rows) * 10 * 2 / 1e6
    message = caplog.records[0].getMessage()
    assert f"{len(rows)} requests, about {characters // 4} tokens in, at most 120 out" in message
    assert f"at most ${cost:.2f}" in message
    assert shown[0] >= 1


def test_equal_completions_are_asked_about_and_counted_once(tmp_path):
    rows = asked_about(n_questions=1, multipliers=(1.0,))
    rows[1]["question"] = rows[0]["question"]
    with answering(lambda *_: completion("5")) as (url, seen):
        table = asked_to_rate([Rater(asker(url, tmp_path, max_requests=1), 1)], rows)
    assert len(seen) == 1
    assert list(table["rating"]) == [5, 5]


def test_what_follows_from_answers_to_come_is_counted_for_each_question(tmp_path):
    judge = asker("http://127.0.0.1:1/v1", tmp_path, max_requests=3)
    # both explanations are still to come, and are judged on the same prompt
    follow = lambda answer: [f"Does it say {answer}?"]  # noqa: E731
    with pytest.raises(UserError, match="4 requests are needed, 3 allowed"):
        judge.prepare(["When a?", "When b?"], [follow, follow])


def test_a_text_and_a_question_without_more_share_their_answer(tmp_path):
    with answering(lambda number, _: completion(str(number))) as (url, seen):
        judge = asker(url, tmp_path, parallel=1)
        assert judge.write(["a"]) == judge.write([Question("a")]) == ["1"]
        assert judge.write([Question("a", "Be brief.")]) == ["2"]
        assert judge.write([Question("a", nth=2)]) == ["3"]
    assert len(seen) == 3


def test_two_servers_that_call_their_models_alike_are_two_judges(tmp_path):
    rows = asked_about(n_questions=1, multipliers=(1.0,))
    with (
        answering(lambda *_: completion("5")) as (url, _),
        answering(lambda *_: completion("9")) as two,
    ):
        raters = [Rater(asker(address, tmp_path), 1) for address in (url, two[0])]
        table = asked_to_rate(raters, rows)
    assert list(table["judge"]) == ["m", "m", "m (second)", "m (second)"]
    assert list(table["rating"]) == [5, 5, 9, 9]


# the script


def job_of(tmp_path, url, judges=1, **changes):
    """A job of the rule ratings over two behaviours, whose questions are written down."""
    config = validated(
        yaml.safe_load((ROOT / "config.yaml").read_text()), ROOT / "config.schema.yaml"
    )
    shown = config["steering"]["ratings"]["endpoint"]
    how = {
        key: shown[key] for key in ("key_variable", "max_requests", "timeout", "retries", "price")
    }
    how |= {"key_variable": "RATINGS_TEST_KEY", "parallel": 1} | changes
    names = ["calm", "brave"]
    for name in names:
        lines = map(json.dumps, asked_about(name, n_questions=2, multipliers=(1.0,)))
        (tmp_path / f"{name}.ratings.jsonl").write_text("\n".join(lines) + "\n")
    return Job(
        input={"asked": [str(tmp_path / f"{name}.ratings.jsonl") for name in names]},
        output={"ratings": [str(tmp_path / f"{name}.ratings.parquet") for name in names]},
        params={
            "run": {},
            "date": "",
            "judges": [
                {
                    "judge": "openai",
                    "section": "steering.ratings" + ".second" * number,
                    "passes": 1,
                    "endpoint": {"base_url": url, "model": f"m{number}"},
                }
                for number in range(judges)
            ],
            "max_new_tokens": 10,
            "cache": str(tmp_path / "cache/ratings.jsonl"),
        },
        wildcards={},
        threads=1,
        log=str(tmp_path / "log"),
        how={"judges": [how] * judges},
    )


def main(job):
    importlib.import_module("steering.ratings").main(job)


def test_the_script_asks_about_all_behaviors_and_the_key_is_in_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("RATINGS_TEST_KEY", KEY)
    with answering(lambda number, _: completion(str(number))) as (url, seen):
        main(job_of(tmp_path, url, judges=2))
    assert {request["key"] for request in seen} == {f"Bearer {KEY}"}
    tables = [pd.read_parquet(tmp_path / f"{name}.ratings.parquet") for name in ("calm", "brave")]
    # what is above 10 is no rating
    expected = [*range(1, 5), 9, 10, np.nan, np.nan, *range(5, 9), *[np.nan] * 4]
    np.testing.assert_array_equal(pd.concat(tables)["rating"], expected)
    assert set(tables[0]["judge"]) == {"m0", "m1"}
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 5
    assert not any(KEY.encode() in content for content in written)


def test_the_cap_counts_the_requests_of_all_behaviors_together(tmp_path, monkeypatch):
    monkeypatch.setenv("RATINGS_TEST_KEY", KEY)
    with answering(lambda *_: completion("5")) as (url, seen):
        with pytest.raises(UserError, match="8 requests are needed, 7 allowed, none was made"):
            main(job_of(tmp_path, url, max_requests=7))
        assert not seen
        assert not list(tmp_path.glob("*.parquet"))


def test_a_wrong_key_ends_it_and_a_second_judges_key_is_named_as_such(tmp_path, monkeypatch):
    monkeypatch.setenv("RATINGS_TEST_KEY", KEY)

    def second_refuses(number, body):
        return fault(401, message=f"bad {KEY}") if body["model"] == "m1" else completion("5")

    with answering(second_refuses) as (url, _), pytest.raises(UserError) as caught:
        main(job_of(tmp_path, url, judges=2))
    said = str(caught.value)
    assert said.startswith("steering.ratings.second.endpoint: ")
    assert "refuses the key (status 401); check the environment variable RATINGS_TEST_KEY" in said
    assert KEY not in said
    # what the first one said is kept; no table is half-written
    assert len((tmp_path / "cache/ratings.jsonl").read_text().splitlines()) == 8
    assert not list(tmp_path.glob("*.parquet"))


def test_a_run_that_is_killed_half_way_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("RATINGS_TEST_KEY", KEY)

    def slow(number, _):
        time.sleep(0.05 if number <= 3 else 60 if number == 4 else 0)
        return completion(str(number))

    program = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from steering.ratings import main; "
        "from steerpaper.workflow.job import Job; main(Job(**json.loads(sys.argv[2])))"
    )
    with answering(slow) as (url, seen):
        job = job_of(tmp_path, url)
        told = json.dumps(job.__dict__)
        command = [sys.executable, "-c", program, str(ROOT / "scripts"), told]
        process = subprocess.Popen(command, env=os.environ)
        while len(seen) < 4:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not list(tmp_path.glob("*.parquet"))
        main(job)
    assert len(seen) == 4 + 5  # the one that was under way is asked again
    ratings = pd.concat(pd.read_parquet(path) for path in job.output["ratings"])["rating"]
    assert list(ratings) == [1, 2, 3, 5, 6, 7, 8, 9]


# the tables


def rated(values, *, judge="m", nth=1, multiplier=1.0):
    """A table of ratings: values by question."""
    rows = [
        {"prompt_id": f"q{question}", "sample": sample, "rating": value}
        for question, of_question in enumerate(values)
        for sample, value in enumerate(of_question)
    ]
    return pd.DataFrame(rows).assign(
        **{"judge": judge, "pass": nth, "multiplier": multiplier, "decoding": "sample"},
        **{"lowest": 0.0, "highest": 10.0, "layer": 1, "answer": ""},
    )


def test_the_mean_rating_has_an_interval_over_questions():
    generator = np.random.default_rng(3)
    values = generator.integers(0, 11, (24, 1)) * 0.7 + generator.uniform(0, 3, (24, 4))
    (row,) = ratings_tables(rated(values), {}, interval=INTERVAL)["ratings"].to_dict("records")
    clusters = np.repeat([f"q{question}" for question in range(24)], 4)
    expected = clustered_interval(values.ravel(), clusters, INTERVAL)
    assert [row["value"], row["low"], row["high"]] == pytest.approx([float(x) for x in expected])
    assert (row["n"], row["questions"], row["unparsed"]) == (96, 24, 0)
    # four completions of a question are alike: taken as independent, the interval would be shorter
    each = clustered_interval(values.ravel(), np.arange(96), INTERVAL)
    assert row["high"] - row["low"] > 1.3 * float(each[2] - each[1])


def test_what_is_no_rating_is_left_out_of_the_mean_and_counted():
    values = [[2.0, np.nan], [4.0, 6.0], [np.nan, np.nan]]
    (row,) = ratings_tables(rated(values), {}, interval=INTERVAL)["ratings"].to_dict("records")
    assert row["value"] == 4
    assert (row["n"], row["questions"], row["unparsed"]) == (3, 2, 3)
    assert row["flags"] == "no interval; unparsed"
    (row,) = ratings_tables(rated([[np.nan]]), {}, interval=INTERVAL)["ratings"].to_dict("records")
    assert np.isnan(row["value"])
    assert (row["n"], row["unparsed"], row["flags"]) == (0, 1, "unparsed")


def test_a_flag_needs_more_than_one_in_ten_without_a_rating():
    few = [[5.0]] * 27 + [[np.nan]] * 3
    assert ratings_tables(rated(few), {}, interval=INTERVAL)["ratings"]["flags"][0] == ""
    more = [[5.0]] * 26 + [[np.nan]] * 4
    assert ratings_tables(rated(more), {}, interval=INTERVAL)["ratings"]["flags"][0] == "unparsed"


def test_one_judge_asked_once_has_nobody_to_agree_with():
    assert ratings_tables(rated([[1.0], [2.0]]), {}, interval=INTERVAL)["rating_agreement"].empty


def test_every_two_judges_and_passes_are_compared_on_what_both_have_rated():
    first = rated([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]])
    again = rated([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], nth=2)
    other = rated([[2.0, np.nan], [3.0, 4.0], [5.0, 6.0]], judge="n")
    # the order of rows is nobody's promise
    table = pd.concat([first, again, other[::-1]], ignore_index=True)
    found = ratings_tables(table, {}, interval=INTERVAL)["rating_agreement"]
    pairs = [("m, pass 1", "m, pass 2"), ("m, pass 1", "n"), ("m, pass 2", "n")]
    assert list(zip(found["first"], found["second"], strict=True)) == pairs
    assert list(found["n"]) == [5, 4, 5]
    expected = cohen_kappa_score([1, 3, 5, 6], [2, 3, 5, 6], labels=range(11), weights="quadratic")
    assert found["kappa"][1] == pytest.approx(expected)
    # three questions are too few for an interval
    assert found["low"].isna().all()
    assert set(found["flags"]) == {"no interval"}
    # both passes are ratings of one judge
    assert list(ratings_tables(table, {}, interval=INTERVAL)["ratings"]["n"]) == [11, 5]


@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=40),
    st.integers(-3, 3),
)
def test_kappa_is_scikit_learns_on_a_scale_of_whole_numbers(pairs, lowest):
    ratings = np.array(pairs, dtype=float) + lowest
    a, b = (ratings[:, side].astype(int) for side in (0, 1))
    labels = range(lowest, lowest + 11)
    found = weighted_kappa(ratings)
    if len({*a, *b}) == 1:
        assert np.isnan(found)
    else:
        expected = cohen_kappa_score(a, b, labels=labels, weights="quadratic")
        assert found == pytest.approx(expected, abs=1e-9)


def test_kappa_is_1_of_the_same_ratings_and_about_0_of_unrelated_ones():
    generator = np.random.default_rng(5)
    one, other = generator.uniform(0, 10, (2, 20_000))
    assert weighted_kappa(np.stack([one, one], axis=1)) == 1
    assert weighted_kappa(np.stack([one, other], axis=1)) == pytest.approx(0, abs=0.02)
    # a judge that is stricter throughout agrees less, though its order is the same
    assert weighted_kappa(np.stack([one, one - 3], axis=1)) < 0.7


def judged(generator, questions, samples=4):
    """Two judges' ratings of completions that are alike within a question, and the questions."""
    of_question = generator.normal(5, 1.5, (questions, 1))
    true = (of_question + generator.normal(0, 1, (questions, samples))).ravel()
    noisy = true[:, None] + generator.normal(0, 1.2, (len(true), 2))
    return np.clip(np.round(noisy), 0, 10), np.repeat(np.arange(questions), samples)


@pytest.mark.parametrize("questions", [8, 20, 40])
def test_kappas_interval_holds_the_truth_nearly_as_often_as_it_says(questions):
    generator = np.random.default_rng(questions + 1)
    truth = weighted_kappa(judged(generator, 100_000)[0])
    held = 0
    for _ in range(300):
        _, low, high = kappa_interval(*judged(generator, questions), INTERVAL)
        held += low <= truth <= high
    assert 0.91 <= held / 300 <= 0.985


def test_kappas_interval_takes_whole_questions():
    generator = np.random.default_rng(9)
    ratings, clusters = judged(generator, 40, samples=2)
    once = kappa_interval(ratings, clusters, INTERVAL)
    assert once[0] == weighted_kappa(ratings)
    # the same completions five times over say no more
    five = kappa_interval(np.tile(ratings, (5, 1)), np.tile(clusters, 5), INTERVAL)
    assert five == pytest.approx(once)


# the workflow


def ratings_rule(tmp_path, **ratings):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["steering"]["ratings"] |= {"behaviors": 2} | ratings
    return rules_of(tmp_path, config)["ratings"]


@pytest.mark.workflow
def test_a_job_that_rates_takes_a_gpu_only_where_the_local_model_is_a_judge(tmp_path):
    found = {}
    for name, ratings in {
        "local": {},
        "endpoint": {"judge": "openai"},
        "both": {"judge": "openai", "second": {"judge": "local"}},
    }.items():
        (tmp_path / name).mkdir()
        found[name] = ratings_rule(tmp_path / name, **ratings)
    assert {name: rule["resources"].get("gpu") for name, rule in found.items()} == {
        "local": 'Resource("gpu", 1)',
        "endpoint": 'Resource("gpu", 0)',
        "both": 'Resource("gpu", 1)',
    }
    assert ["model" in rule["input"] for rule in found.values()] == [True, False, True]
    # a job a behaviour; with an endpoint one for all
    assert [len(rule["output"]) for rule in found.values()] == [1, 2, 2]


def rated_study(folder, model, **ratings):
    config = make_study(folder, model)
    for name in ("one", "two"):
        config["behaviors"][name]["rating"] = f"{name}.rating.yaml"
        text = "scale: [1, 5]\nprompt: 'Rate. {question} {answer}'\n"
        (folder / f"{name}.rating.yaml").write_text(text)
    config["steering"]["completions"]["questions"] = 5
    config["steering"]["contrasts"] = ["answers"]
    config["steering"]["ratings"] = {"behaviors": "all", **ratings}
    return config


@pytest.mark.workflow
def test_a_study_is_rated_by_an_endpoint_and_the_local_model_to_its_figure(tmp_path, model_folders):
    def answer(number, body):
        return completion("five" if number == 3 else str(1 + number % 5))

    with answering(answer) as (url, seen):
        config = rated_study(
            tmp_path,
            model_folders["llama"],
            judge="openai",
            endpoint={"base_url": url, "model": "gpt", "key_variable": None, "parallel": 1},
            passes=2,
            second={"judge": "local"},
        )
        figure, table = "figures/tiny/ratings.png", "results/tiny/tables/rating_agreement.csv"
        process = snakemake(tmp_path, config, figure, table)
        assert process.returncode == 0, process.stderr
        # six questions (one and five), two multipliers, a greedy completion and a sample of each
        requests, completions = len(seen), 6 * 2 * 2
        assert 0 < requests <= 2 * completions
        assert f"gpt at {url}: {requests} requests, about" in process.stderr
        ratings = pd.read_csv(tmp_path / "results/tiny/tables/ratings.csv")
        columns = ["behavior", "judge", "multiplier", "value", "low", "high", "n", "questions"]
        assert list(ratings) == [*columns, "unparsed", "lowest", "highest", "flags"]
        assert ratings.groupby("judge", sort=False).size().to_dict() == {"gpt": 4, "tiny": 4}
        asked = ratings.groupby("judge")[["n", "unparsed"]].sum().sum(axis=1)
        assert asked.to_dict() == {"gpt": 2 * completions, "tiny": completions}
        assert ratings[ratings["judge"] == "gpt"]["unparsed"].sum() >= 1
        agreement = pd.read_csv(tmp_path / table)
        assert list(agreement["first"]) == ["gpt, pass 1", "gpt, pass 1", "gpt, pass 2"] * 2
        # a run of the same asks nothing, and says the same to the byte
        again = "results/tiny/steering/one.ratings.parquet"
        made = tmp_path / again
        before = made.read_bytes()
        made.unlink()
        process = snakemake(tmp_path, config, again, figure)
        assert process.returncode == 0, process.stderr
        assert len(seen) == requests
        assert made.read_bytes() == before

    # how an endpoint is asked makes nothing anew, another prompt no completion
    config["steering"]["ratings"]["endpoint"] |= {"timeout": 3}
    assert planned(tmp_path, config, figure) == set()
    text = "scale: [1, 7]\nprompt: 'Rate. {question} {answer}'\n"
    (tmp_path / "one.rating.yaml").write_text(text)
    anew = {"rating_prompts", "ratings", "ratings_table", "plot_ratings"}
    assert planned(tmp_path, config, figure) == anew


def test_a_manuscript_may_name_ratings_and_agreement():
    declared, read = reading(
        {
            "declared": rows_of(ROOT / "report/numbers.yaml"),
            "measures": ["logit_diff"],
            "alpha": 0.05,
        }
    )
    made = ratings_tables(
        pd.concat([rated([[2.0, 4.0]] * 6), rated([[7.0]] * 6, multiplier=2.0, judge="m")]),
        {},
        interval=INTERVAL,
    )
    rows = made["ratings"].assign(behavior="calm").to_dict("records")
    found = of_table("ratings", rows, declared["ratings"], read)
    assert found["ratings.calm.m.1.value.estimate"].text == "3 (3 to 3)"
    assert found["ratings.calm.m.highest.value"].value == 7
    assert found["ratings.all.m.highest.value.range"].text == "7"
    rows = [
        {"behavior": "calm", "first": "m", "second": "n", "kappa": 0.5, "low": 0.1, "high": 0.8}
    ]
    found = of_table("rating_agreement", rows, declared["rating_agreement"], read)
    assert found["rating_agreement.calm.m.n.kappa.estimate"].text == "0.5 (0.1 to 0.8)"
