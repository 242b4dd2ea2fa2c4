"""Labels of completions by a judge: what it is asked, how it is read, what is made of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from asked import rules_of
from conftest import ROOT, mostly_long
from endpoints import KEY, answering, completion
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from study import snakemake
from test_manuscript import said as manuscript
from test_ratings import INTERVAL, asked_about, asker, job_of, local, main, rated_study, samples

from steerpaper.errors import UserError
from steerpaper.judges.endpoint import EndpointJudge
from steerpaper.judges.judge import parse_word
from steerpaper.steering.about import About, read_about
from steerpaper.steering.judged_labels import description, label, label_prompts, label_question
from steerpaper.steering.labels import LABELS
from steerpaper.steering.ratings import Rater, prepare
from steerpaper.steering.tables.agreement import kappa_interval, labels_as_points, weighted_kappa
from steerpaper.steering.tables.completions import label_shares
from steerpaper.steering.tables.judged_labels import judged_labels_tables

BY_WORDS = {"markers": {"matching": ["yes"], "other": ["no"]}, "negators": None}


# reading an answer


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        *[("matching", "matching"), ("Other", "other"), (" NEITHER\n", "neither")],
        *[("other.", "other"), ("**Other**", "other"), ('"matching"', "matching")],
        *[("Label: other", "other"), ("**Answer:** matching.", "matching"), ("(other).", "other")],
        *[("matching other", None), ("not matching", None), ("matching, I think", None)],
        *[("The answer is other.", None), ("neither\n\nIt is cold.", None), ("", None)],
        *[("A", None), ("match", None), ("matching/other", None), ("7", None), ("no", None)],
        # letters that only look alike
        *[("match\u0131ng", None), ("ne\u0130ther", None), ("\uff4fther", None)],
    ],
)
def test_a_label_is_one_of_three_words_alone_and_nothing_is_guessed(answer, found):
    assert parse_word(answer, LABELS) == found


@given(st.text(max_size=12) | st.lists(st.sampled_from([*LABELS, " ", ".", "not"])).map("".join))
def test_any_answer_is_one_of_the_words_or_none(answer):
    found = parse_word(answer, LABELS)
    assert found is None or (found in LABELS and answer.lower().count(found) == 1)


# what is asked


def to_label(behavior="calm", **sizes):
    table = samples(**sizes)
    questions = {name: f"What, {behavior}, about {name}?" for name in table["prompt_id"].unique()}
    return list(label_prompts(table, questions, "Calm. An answer is calm.", behavior=behavior))


def test_a_judge_is_told_the_title_what_is_measured_the_question_and_the_answer_as_they_are():
    about = About(title="Tea {question}", measures="Whether {answer} is tea.\n")
    told = description(about, behavior="tea", file="tea.yaml")
    asked = label_question(told, "Is {answer} it?", "It is {question}.")
    assert "The behaviour: Tea {question}. Whether {answer} is tea.\n\n" in asked
    assert "Question:\nIs {answer} it?\n\nAnswer:\nIt is {question}.\n\n" in asked
    assert all(f"{word} if " in asked for word in LABELS)
    # without a title a behaviour has its name
    assert description(replace(about, title=None), behavior="tea", file="").startswith("tea. ")


def test_every_completion_is_to_be_labelled_once_whatever_its_decoding():
    rows = to_label()
    assert len(rows) == len(samples())
    for row, rated in zip(rows, asked_about(), strict=True):
        keys = ["behavior", "prompt_id", "layer", "multiplier", "decoding", "sample"]
        assert {key: row[key] for key in keys} == {key: rated[key] for key in keys}
        assert row["system"] is None
    assert "What, calm, about q0?\n\nAnswer:\nsample answer 0 at -1\n" in rows[1]["question"]


@pytest.mark.parametrize("path", sorted((ROOT / "data/behaviors").glob("*.rating.yaml")))
def test_a_judge_can_be_asked_about_the_projects_behaviors(path):
    behavior = path.name.removesuffix(".rating.yaml")
    about = read_about(path.with_name(f"{behavior}.yaml"))
    told = description(about, behavior=behavior, file=str(path))
    assert told.startswith(f"{about.title}. ")


# judges


@pytest.mark.long
def test_a_real_server_labels_as_the_local_model_does_and_a_second_run_asks_nothing(
    server, model_folders, load_tiny, tmp_path, monkeypatch
):
    rows = to_label(n_questions=2, multipliers=(1.0,))
    name = str(model_folders["llama"])
    found = label(asker(server, tmp_path, model=name), rows)
    lm = replace(load_tiny("llama"), context=None)
    own = label(local(lm, max_new_tokens=10), rows)
    assert list(found["answer"]) == list(own["answer"])
    assert set(own["judge"]) == {lm.name}
    # a model of random weights says none of the words
    assert found["label"].isna().all()

    def refuse(self, request):
        raise AssertionError("asked again")

    monkeypatch.setattr(EndpointJudge, "_completion", refuse)
    pd.testing.assert_frame_equal(label(asker(server, tmp_path, model=name), rows), found)


def test_answers_in_prose_are_kept_and_counted_and_no_label_is_taken_out_of_them(tmp_path, caplog):
    def prose(number, body):
        greedy = "greedy" in body["messages"][-1]["content"]
        return completion("It is matching." if greedy else "Other")

    with answering(prose) as (url, _), caplog.at_level("WARNING"):
        table = label(asker(url, tmp_path), to_label())
    assert "m: 9 of 18 answers are no label" in caplog.text
    assert set(table["answer"]) == {"It is matching.", "Other"}
    assert list(table["label"].isna()) == [True, False] * 9
    assert set(table["label"].dropna()) == {"other"}
    shares = judged_labels_tables(table, samples(), BY_WORDS, {}, interval=INTERVAL)[
        "judged_labels"
    ]
    greedy = shares[shares["decoding"] == "greedy"]
    assert list(greedy["unparsed"]) == [3, 3, 3]
    assert list(greedy["n"]) == [0, 0, 0]
    assert greedy["other"].isna().all()
    assert set(greedy["flags"]) == {"unparsed"}
    drawn = shares[shares["decoding"] == "average"]
    assert list(drawn["other"]) == [1, 1, 1]
    assert list(drawn["unparsed"]) == [0, 0, 0]


def test_the_cap_and_the_price_count_ratings_and_labels_together(tmp_path, caplog):
    rows, labelled = asked_about(n_questions=2), to_label(n_questions=2)
    with answering(lambda *_: completion("other")) as (url, seen):
        short = [Rater(asker(url, tmp_path, max_requests=35), 2)]
        with pytest.raises(UserError, match="36 requests are needed, 35 allowed, none was made"):
            prepare(short, rows, labelled)
        assert not seen
        enough = [Rater(asker(url, tmp_path, max_requests=36, price=(1.0, 2.0)), 2)]
        # a second judge labels nothing
        enough.append(Rater(asker(url, tmp_path, model="n", max_requests=12), 1))
        with caplog.at_level("INFO"):
            prepare(enough, rows, labelled)
    said = [record.getMessage() for record in caplog.records if "requests, about" in record.msg]
    rated = sum(len(row["question"]) + len(row["system"]) for row in rows)
    characters = 2 * rated + sum(len(row["question"]) for row in labelled)
    cost = characters / 4 / 1e6 + 36 * 10 * 2 / 1e6
    assert f"36 requests, about {characters // 4} tokens in, at most 360 out" in said[-2]
    assert f"at most ${cost:.2f}" in said[-2]


def job_with_labels(tmp_path, url, judges=1, **changes):
    job = job_of(tmp_path, url, judges, **changes)
    names = ["calm", "brave"]
    for name in names:
        rows = to_label(name, n_questions=2, multipliers=(1.0,))
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / f"{name}.to_label.jsonl").write_text(lines)
    job.input["to_label"] = [str(tmp_path / f"{name}.to_label.jsonl") for name in names]
    job.output["labels"] = [str(tmp_path / f"{name}.labels.parquet") for name in names]
    return job


def test_the_script_has_the_first_judge_label_all_behaviors(tmp_path, monkeypatch):
    monkeypatch.setenv("RATINGS_TEST_KEY", KEY)
    labelling = "one word"

    def answer(number, body):
        text = body["messages"][-1]["content"]
        return completion(
            ("other" if "What, calm" in text else "neither") if labelling in text else "5"
        )

    with answering(answer) as (url, seen):
        with pytest.raises(UserError, match="16 requests are needed, 15 allowed, none was made"):
            main(job_with_labels(tmp_path, url, max_requests=15))
        assert not seen
        assert not list(tmp_path.glob("*.parquet"))
        main(job_with_labels(tmp_path, url, judges=2, max_requests=16))
        labels = [r for r in seen if labelling in r["messages"][-1]["content"]]
        assert [request["model"] for request in labels] == ["m0"] * 8
        assert len(seen) == 8 + 16
    for name, expected in (("calm", "other"), ("brave", "neither")):
        table = pd.read_parquet(tmp_path / f"{name}.labels.parquet")
        columns = ["prompt_id", "layer", "multiplier", "decoding", "sample", "judge", "answer"]
        assert list(table) == [*columns, "label"]
        assert list(table["label"]) == [expected] * 4
        ratings = pd.read_parquet(tmp_path / f"{name}.ratings.parquet")["rating"]
        assert list(ratings) == [5] * 8


# the tables


def labelled(labels, multiplier=1.0):
    """A judge's labels by question and sample."""
    rows = [
        {"prompt_id": f"q{question}", "sample": sample, "label": one}
        for question, of_question in enumerate(labels)
        for sample, one in enumerate(of_question)
    ]
    return pd.DataFrame(rows).assign(
        judge="m", layer=1, multiplier=multiplier, decoding="sample", answer=""
    )


def completions_of(judged, words):
    """The completions that were judged, as texts that markers give these labels."""
    texts = {"matching": "well yes then", "other": "well no then", "neither": "well then"}
    table = judged[["prompt_id", "layer", "multiplier", "decoding", "sample"]]
    return table.assign(text=[texts[word] for word in words])


def made(judged, words):
    drawn = completions_of(judged, words)
    return judged_labels_tables(judged, drawn, BY_WORDS, {}, interval=INTERVAL)


def test_shares_by_a_judge_are_made_as_those_by_markers_are():
    generator = np.random.default_rng(4)
    words = generator.choice(LABELS, (12, 3), p=[0.5, 0.2, 0.3])
    judged = labelled(words)
    shares = made(judged, words.ravel())["judged_labels"]
    expected = label_shares(completions_of(judged, words.ravel()), BY_WORDS, {}, interval=INTERVAL)
    assert set(shares["judge"]) == {"m"}
    assert set(shares["unparsed"]) == {0}
    pd.testing.assert_frame_equal(shares.drop(columns=["judge", "unparsed"]), expected)
    # markers leave nothing without a label, and their table has no column for it
    assert "unparsed" not in expected


def test_what_is_no_label_is_left_out_of_the_shares_and_of_the_agreement_and_counted():
    judged = labelled([["matching", None], ["other", "matching"], [None, None]])
    found = made(judged, ["matching"] * 6)
    average = found["judged_labels"].set_index("decoding").loc["average"]
    assert (average["n"], average["n_prompts"], average["unparsed"]) == (3, 2, 3)
    assert average["matching"] == pytest.approx(2 / 3)
    assert average["flags"] == "no interval; unparsed"
    (agreement,) = found["label_agreement"].to_dict("records")
    assert (agreement["n"], agreement["questions"], agreement["judge"]) == (3, 2, "m")


def test_a_judge_that_labels_nothing_agrees_with_nobody():
    (row,) = made(labelled([[None]] * 6), ["other"] * 6)["label_agreement"].to_dict("records")
    assert np.isnan(row["kappa"])
    assert (row["n"], row["questions"], row["flags"]) == (0, 0, "")


def test_labels_are_compared_completion_by_completion_whatever_the_order():
    generator = np.random.default_rng(8)
    words, judge = generator.choice(LABELS, (2, 40))
    judged = labelled(judge.reshape(20, 2))
    drawn = completions_of(judged, words)
    found = judged_labels_tables(judged[::-1], drawn, BY_WORDS, {}, interval=INTERVAL)
    (row,) = found["label_agreement"].to_dict("records")
    assert row["kappa"] == pytest.approx(cohen_kappa_score(words, judge))
    assert row["low"] < row["kappa"] < row["high"]


@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40)
)
def test_kappa_of_labels_is_scikit_learns_unweighted_one(pairs):
    found = weighted_kappa(labels_as_points(pairs, LABELS))
    one, other = zip(*pairs, strict=True)
    if len({*one, *other}) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(cohen_kappa_score(one, other), abs=1e-9)


def two_labellings(generator, questions, samples=4):
    """Two raters' labels of completions that are alike within a question, and the questions."""
    of_question = generator.normal(0, 1, (questions, 1))
    true = (of_question + generator.normal(0, 0.7, (questions, samples))).ravel()
    noisy = true[:, None] + generator.normal(0, 0.6, (len(true), 2))
    codes = np.digitize(noisy, [-0.5, 0.7])
    return labels_as_points(codes.tolist(), [0, 1, 2]), np.repeat(np.arange(questions), samples)


@pytest.mark.parametrize("questions", mostly_long([8, 20, 40], 20))
def test_the_interval_of_labels_kappa_holds_the_truth_nearly_as_often_as_it_says(questions):
    generator = np.random.default_rng(questions)
    truth = weighted_kappa(two_labellings(generator, 100_000)[0])
    held = 0
    for _ in range(300):
        _, low, high = kappa_interval(*two_labellings(generator, questions), INTERVAL)
        held += low <= truth <= high
    assert 0.91 <= held / 300 <= 0.985


# the workflow


@pytest.mark.long
@pytest.mark.workflow
def test_a_study_is_labelled_by_a_judge_beside_its_markers(tmp_path, model_folders):
    def answer(number, body):
        asked = body["messages"][-1]["content"]
        words = [*LABELS, "I would say matching."]
        return completion(words[number % 4] if "one word" in asked else "3")

    with answering(answer) as (url, seen):
        config = rated_study(
            tmp_path,
            model_folders["llama"],
            judge="openai",
            endpoint={"base_url": url, "model": "gpt", "key_variable": None, "parallel": 1},
        )
        config["steering"]["ratings"]["behaviors"] = ["one"]
        results = tmp_path / "results/tiny"
        targets = [f"results/tiny/tables/{name}.csv" for name in ("completion_labels", "ratings")]
        process = snakemake(tmp_path, config, *targets)
        assert process.returncode == 0, process.stderr
        rated = len(seen)
        before = {target: (tmp_path / target).read_bytes() for target in targets}
        config["steering"]["ratings"]["labels"] = "judge"
        about = tmp_path / "one.yaml"
        without = about.read_text()
        # said before anything runs, not after the completions
        process = snakemake(tmp_path, config, "--dry-run", *targets)
        assert process.returncode == 1
        assert "one.yaml: measures: is missing" in process.stdout + process.stderr
        about.write_text(without + "measures: Whether an answer seeks company.\n")
        targets.append("results/tiny/tables/judged_labels.csv")
        process = snakemake(tmp_path, config, *targets)
        assert process.returncode == 0, process.stderr
        # one question, two multipliers, a greedy completion and a sample of each: no rating anew
        assert len(seen) - rated == len(
            results.joinpath("prompts/one.to_label.jsonl").read_text().splitlines()
        )
        requests = len(seen)
        assert {target: (tmp_path / target).read_bytes() for target in before} == before
        shares = pd.read_csv(results / "tables/judged_labels.csv")
        assert set(shares["behavior"]) == {"one"}
        assert set(shares["judge"]) == {"gpt"}
        assert shares["unparsed"].sum() >= 1
        agreement = pd.read_csv(results / "tables/label_agreement.csv")
        assert list(agreement) == [
            *["behavior", "judge", "kappa", "low", "high", "n", "questions", "flags"]
        ]
        made_labels = results / "steering/one.judged_labels.parquet"
        said = made_labels.read_bytes()
        made_labels.unlink()
        again = "results/tiny/steering/one.judged_labels.parquet"
        process = snakemake(tmp_path, config, again, *targets)
        assert process.returncode == 0, process.stderr
        assert len(seen) == requests
        assert made_labels.read_bytes() == said


@pytest.mark.workflow
def test_a_judges_labels_are_made_and_looked_at_for_flags_where_they_are_asked_for(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for labels in ("markers", "judge"):
        config["steering"]["ratings"] |= {"behaviors": 2, "labels": labels}
        flagged = [
            Path(path).stem for path in rules_of(tmp_path, config)["flags_table"]["input"]["tables"]
        ]
        assert "ratings" in flagged
        assert ("judged_labels" in flagged) == (labels == "judge")
        assert ("label_agreement" in flagged) == (labels == "judge")


def test_a_judges_labels_and_the_agreement_stand_in_the_manuscript(tmp_path):
    words = ["matching"] * 6 + ["other"] * 6
    found = made(labelled([[word] for word in words]), words)
    tables = {name: table.assign(behavior="calm") for name, table in found.items()}
    text = manuscript(tmp_path, tables)
    numbers = json.loads((tmp_path / "study/numbers.json").read_text())
    words = numbers["judged_labels.all.m.average.highest.difference.words"]["text"]
    assert f"by m, sampled ones, averaged over samples {words}" in text
    assert "Agreement of the markers with m beyond chance (Cohen’s kappa), by behaviour: 1." in text
    (tmp_path / "none").mkdir()
    assert "A judge also labelled" not in manuscript(tmp_path / "none", {})


def test_the_report_and_the_docs_say_where_a_label_is_from():
    tables = yaml.safe_load((ROOT / "report/tables.yaml").read_text())
    assert (
        "by the behaviour's markers" in tables["completion_labels"]["tables"]["completion_labels"]
    )
    assert "by a judge's labels" in tables["judged_labels_table"]["tables"]["judged_labels"]
