"""Explanations: the questions, the two explainers, the scores, and an endpoint's faults."""

import importlib
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import plain
import pytest
import yaml
from conftest import ROOT
from endpoints import KEY, answering, completion, endpoint, fault, free_port
from hypothesis import given
from hypothesis import strategies as st
from published_templates import LLAMA_2

from steerpaper.engine.text import continuation_ids, token_ids
from steerpaper.engine.turns import render
from steerpaper.errors import UserError
from steerpaper.judges.endpoint import AnswerCache, EndpointJudge
from steerpaper.judges.judge import Judgement, parse_answer
from steerpaper.judges.local import LocalJudge
from steerpaper.lookups import explanations as ex
from steerpaper.lookups.heads import PAIR, choose_heads
from steerpaper.workflow.config import validated
from steerpaper.workflow.job import Job

SCHEMA = ROOT / "config.schema.yaml"


def local(lm, *, max_new_tokens=6, budget=1024):
    options = {"max_new_tokens": max_new_tokens, "budget": budget}
    return LocalJudge(lm, **options, section="lookups.explanations")


def plain_difference(lm, question):
    """Log p(Yes) - log p(No) by two full forward passes."""
    turn = render(lm.tokenizer, question, None, source="")
    ids = token_ids(lm.tokenizer, turn.text)
    yes, no = (
        plain.logprob(lm, ids, continuation_ids(lm.tokenizer, turn.text, turn.lead + word)[0])
        for word in ("Yes", "No")
    )
    return yes - no


@pytest.fixture
def roomy(load_tiny):
    """Load a tiny model whose context the questions fit into (the check is the test's own)."""

    def load(name):
        return replace(load_tiny(name), context=None if name != "gpt2" else 256)

    return load


def judgements():
    texts = ["the day goes well", "no", "a long text about the weather", "never again"]
    return [ex.judgement(f"when it is {kind}", text) for kind in ("good", "bad") for text in texts]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_local_judgements_equal_plain_forward_passes(roomy, name):
    lm = roomy(name)
    judge = local(lm)
    asked = judgements()
    expected = [
        plain_difference(lm, judgement.question) - plain_difference(lm, judgement.baseline)
        for judgement in asked
    ]
    got = [
        difference
        for judgement in asked
        for difference in judge.differences([judgement.question], judgement.baseline)
    ]
    np.testing.assert_allclose(got, expected, atol=1e-3)
    # nearly equal differences may fall on either side of zero
    clear = np.abs(expected) > 2e-3
    assert clear.sum() > 4
    said = np.array(judge.judge(asked), dtype=bool)
    assert (said == (np.array(expected) > 0))[clear].all()


def test_local_judgements_stand_behind_what_the_template_puts_before_an_answer(roomy, monkeypatch):
    lm = roomy("llama")
    monkeypatch.setattr(lm.tokenizer, "chat_template", LLAMA_2)
    (question, baseline) = ("Is it tea?", "Is it nothing?")
    expected = []
    for asked in (question, baseline):
        said = [{"role": "user", "content": asked}, {"role": "assistant", "content": "Yes"}]
        whole = lm.tokenizer.apply_chat_template(said, tokenize=False)
        before = whole[: whole.index("[/INST]") + len("[/INST]")]
        ids = token_ids(lm.tokenizer, before)
        yes, no = (
            plain.logprob(lm, ids, token_ids(lm.tokenizer, f"{before} {word}")[len(ids) :])
            for word in ("Yes", "No")
        )
        expected.append(yes - no)
    (got,) = local(lm).differences([question], baseline)
    assert got == pytest.approx(expected[0] - expected[1], abs=1e-3)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_local_explanations_equal_plain_greedy_decoding(roomy, name):
    lm = roomy(name)
    questions = ["When is it active?", "What do these have in common: a, b?"]
    expected = []
    for question in questions:
        ids = token_ids(lm.tokenizer, render(lm.tokenizer, question, None, source="").text)
        expected.append(plain.greedy(lm, ids, None, {}, 6))
    got = local(lm).write(questions)
    assert got == [lm.tokenizer.decode(ids, skip_special_tokens=True) for ids in expected]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_local_answers_are_the_same_to_the_bit_for_any_budget_and_order(roomy, name):
    lm = roomy(name)
    questions = ["When is it active?", "What do these have in common: a, b, c and d?", "Why?"]
    asked = judgements()
    bad = asked[len(asked) // 2 :]  # of one explanation, and so of one baseline
    found = []
    for budget in (1, 200, 20_000):
        judge = local(lm, budget=budget)
        differences = judge.differences([one.question for one in bad], bad[0].baseline)
        found.append((judge.write(questions), judge.judge(asked), differences))
    assert found[0] == found[1] == found[2]
    judge = local(lm, budget=200)
    assert judge.write(questions[::-1])[::-1] == found[0][0]
    assert judge.judge(asked[::-1])[::-1] == found[0][1]
    backwards = judge.differences([one.question for one in bad[::-1]], bad[0].baseline)
    assert backwards[::-1] == found[0][2]


def test_what_does_not_fit_the_context_is_not_answered(load_tiny):
    lm = replace(load_tiny("llama"), context=150)
    judge = local(lm, max_new_tokens=5)
    assert judge.fits("short")
    assert not judge.fits("long " * 150)
    # its baseline does not fit either: such a question is no more answered than one too long
    assert judge.judge([ex.judgement("when", "word " * 200)]) == [None]
    assert judge.judge([Judgement("Is it? word", "Is it?")]) != [None]
    assert judge.judge([Judgement("Is it? " + "word " * 200, "Is it?")]) == [None]
    assert judge.judge([Judgement("Is it?", "Is it? " + "word " * 200)]) == [None]


def test_control_tokens_in_a_prompt_do_not_end_the_question(roomy):
    judge = local(roomy("llama"), max_new_tokens=3)
    clean, dirty = "say what it is", "say<|end|> what<|start|> it is"
    assert judge.write([clean]) == judge.write([dirty])
    # one that comes about where another is cut out
    assert judge.write([clean]) == judge.write(["say wh<|e<|end|>nd|>at it is"])


def study():
    """Two heads with four train and two test prompts each; the last head has one test class."""
    heads = pd.DataFrame(
        {
            "layer": [3, 3],
            "neuron": [7, 7],
            "head_layer": [1, 2],
            "head": [0, 3],
            "note": ["a", "b"],
        }
    )
    rows = [
        {
            **{key: int(heads[key][pair]) for key in PAIR},
            "split": "train" if rank < 4 else "test",
            "rank": rank,
            "prompt_id": f"p{rank}",
            "text": f"prompt {rank}",
            "active": bool(rank % 2) and (pair == 0 or rank < 4),
        }
        for pair in range(2)
        for rank in range(6)
    ]
    return heads, pd.DataFrame(rows)


class Scripted:
    """A judge that answers from a list."""

    name = "scripted"

    def __init__(self, explanation="because", said=(), room=10_000):
        self.explanation, self.said, self.room, self.asked = explanation, said, room, []

    def fits(self, question):
        return len(question) <= self.room

    def prepare(self, questions, follow_ups):
        self.asked = list(questions)
        self.to_follow = [follow(self.explanation) for follow in follow_ups]

    def write(self, questions):
        return [self.explanation] * len(questions)

    def judge(self, judgements):
        self.judged = [judgement.question for judgement in judgements]
        return list(self.said)[: len(judgements)]


def test_heads_without_both_classes_are_left_out_and_counted_before_anything_is_asked():
    heads, prompts = study()
    judge = Scripted(said=[False, True])
    explanations, verdicts = ex.explain_heads(judge, heads, prompts, examples=4)
    assert list(explanations["left_out"]) == ["", ex.ONE_CLASS]
    assert len(judge.asked) == 1
    # what is said to follow is what is asked then
    assert judge.to_follow == [judge.judged]
    assert list(verdicts["prompt_id"]) == ["p4", "p5"]
    scores = ex.score_heads(explanations, verdicts)
    assert list(scores["score"].fillna(-1)) == [1.0, -1.0]
    assert list(scores["left_out"]) == ["", ex.ONE_CLASS]


def test_the_explainer_sees_train_prompts_alone_and_as_many_as_it_can_read():
    heads, prompts = study()
    many, few, none = Scripted(said=[True, True]), Scripted(said=[True, True]), Scripted()
    explanations, _ = ex.explain_heads(many, heads, prompts, examples=4)
    assert explanations["examples"][0] == 2
    assert "prompt 4" not in many.asked[0]
    assert "prompt 5" not in many.asked[0]
    assert many.asked[0].index("prompt 1") < many.asked[0].index("prompt 0")
    few.room = len(many.asked[0]) - 1
    explanations, _ = ex.explain_heads(few, heads, prompts, examples=4)
    assert explanations["examples"][0] == 1
    none.room = 10
    explanations, verdicts = ex.explain_heads(none, heads, prompts, examples=4)
    assert explanations["left_out"][0] == ex.TOO_LONG
    assert verdicts.empty
    assert ex.score_heads(explanations, verdicts)["score"].isna().all()


def test_the_published_task_tells_the_token_and_shows_all_prompts():
    heads, prompts = study()
    judge = Scripted(said=[True, True])
    named = heads[["layer", "neuron"]].itertuples(index=False, name=None)
    tokens = dict.fromkeys(named, " x")
    explanations, _ = ex.explain_heads(judge, heads, prompts, examples=None, tokens=tokens)
    assert explanations["examples"][0] == 2
    assert 'the token " x", with which every text ends' in judge.asked[0]
    assert all(f'"prompt {rank} x"' in judge.asked[0] for rank in range(4))
    # and so do the prompts that are judged
    assert all(question.endswith(' x"') for question in judge.judged)
    # else nothing is told of it
    ex.explain_heads(judge, heads, prompts, examples=4)
    assert " x" not in judge.asked[0]


def test_a_missing_explanation_and_missing_answers_are_counted():
    heads, prompts = study()
    explanations, verdicts = ex.explain_heads(Scripted(" \n"), heads, prompts, examples=4)
    assert explanations["left_out"][0] == ex.NO_EXPLANATION
    explanations, verdicts = ex.explain_heads(
        Scripted(said=[None, True]), heads, prompts, examples=4
    )
    scores = ex.score_heads(explanations, verdicts)
    assert scores["unanswered"][0] == 1
    assert scores["left_out"][0] == ex.UNANSWERED
    explanations, verdicts = ex.explain_heads(
        Scripted(said=[None, None]), heads, prompts, examples=4
    )
    assert ex.score_heads(explanations, verdicts)["unanswered"][0] == 2


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([True, False, None])), min_size=1))
def test_scores_are_the_mean_of_the_two_rates_with_their_counts(answers):
    pair = dict(zip(PAIR, (1, 2, 0, 0), strict=True))
    explanations = pd.DataFrame([{**pair, "left_out": ""}])
    verdicts = pd.DataFrame(
        [{**pair, "active": a, "said": np.nan if s is None else float(s)} for a, s in answers]
    )
    (row,) = ex.score_heads(explanations, verdicts).to_dict("records")
    positives = [s for a, s in answers if a and s is not None]
    negatives = [s for a, s in answers if not a and s is not None]
    assert (row["n_active"], row["n_inactive"]) == (len(positives), len(negatives))
    assert row["unanswered"] == sum(s is None for _, s in answers)
    if positives and negatives:
        rates = np.mean(positives), 1 - np.mean(negatives)
        assert row["score"] == pytest.approx(np.mean(rates))
        assert row["left_out"] == ""
    else:
        assert np.isnan(row["score"])
        assert row["left_out"] == ex.UNANSWERED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes", True),
        (" no.", False),
        ("**YES**", True),
        ("The answer is no, surely", False),
        ("Yes and no", None),
        ("Maybe", None),
        ("", None),
        ("Nothing yesterday", None),
    ],
)
def test_answers_are_yes_no_or_unusable(answer, said):
    assert parse_answer(answer) is said


def attribution():
    shares = {0: 0, 1: 2, 2: 4, 3: 6, 4: 8}
    return pd.DataFrame(
        [
            {
                **dict(zip(PAIR, (5, 1, 2, head), strict=True)),
                "split": split,
                "prompt_id": f"{split}-{prompt}",
                # the test prompts would choose other heads
                "active": prompt < (active if split == "train" else 4),
            }
            for head, active in shares.items()
            for split in ("train", "test")
            for prompt in range(8)
        ]
    )


def test_heads_are_chosen_by_their_share_of_active_train_prompts():
    pairs, allowed = choose_heads(attribution(), share=(0.25, 0.75), per_neuron=None, seed=1)
    assert list(pairs["head"]) == [1, 2, 3]
    assert list(pairs["train_active"]) == [2, 4, 6]
    assert allowed == 3
    drawn = [
        tuple(choose_heads(attribution(), share=(0.25, 0.75), per_neuron=2, seed=seed)[0]["head"])
        for seed in range(8)
    ]
    assert all(len(heads) == 2 for heads in drawn)
    assert len(set(drawn)) > 1
    again, allowed = choose_heads(attribution(), share=(0.25, 0.75), per_neuron=2, seed=3)
    assert tuple(again["head"]) == drawn[3]
    assert allowed == 3


def test_no_head_on_the_share_gives_empty_tables_not_a_crash():
    pairs, allowed = choose_heads(attribution(), share=(0.3, 0.4), per_neuron=2, seed=1)
    assert pairs.empty
    assert allowed == 0
    _, prompts = study()
    explanations, verdicts = ex.explain_heads(Scripted(), pairs, prompts.iloc[:0], examples=4)
    assert ex.score_heads(explanations, verdicts).empty


# --- a real server ---


def test_a_real_server_answers_as_the_local_model_does_and_a_second_run_asks_nothing(
    server, model_folders, roomy, tmp_path, monkeypatch
):
    at = endpoint(server, str(model_folders["llama"]))
    heads, prompts = study()
    first = EndpointJudge(at, AnswerCache(tmp_path / "cache.jsonl"), max_new_tokens=6)
    explanations, verdicts = ex.explain_heads(first, heads, prompts, examples=4)
    (expected,) = local(roomy("llama")).write([explanations["question"][0]])
    assert explanations["explanation"][0] == " ".join(expected.split())
    # a random model says neither yes nor no: every judgement is there, none is usable
    assert len(verdicts) == 2
    assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == 3

    def refuse(self, request):
        raise AssertionError("asked again")

    monkeypatch.setattr(EndpointJudge, "_completion", refuse)
    again = EndpointJudge(at, AnswerCache(tmp_path / "cache.jsonl"), max_new_tokens=6)
    repeated = ex.explain_heads(again, heads, prompts, examples=4)
    pd.testing.assert_frame_equal(repeated[0], explanations)
    pd.testing.assert_frame_equal(repeated[1], verdicts)


def test_a_model_that_a_real_server_does_not_have_is_named(server, tmp_path):
    judge = EndpointJudge(
        endpoint(server, "no-such-model"), AnswerCache(tmp_path / "a.jsonl"), max_new_tokens=2
    )
    with pytest.raises(UserError, match=r"status \d+"):
        judge.write(["hello"])


# --- the script, on an endpoint that the configuration names ---


def test_the_script_asks_the_configured_endpoint(tmp_path, monkeypatch):
    config = validated(yaml.safe_load((ROOT / "config.yaml").read_text()), SCHEMA)
    monkeypatch.setenv("LOOKUPS_TEST_KEY", KEY)
    heads, prompts = study()
    keys = ["layer", "neuron", "split", "prompt_id"]
    files = {
        "heads": heads,
        "attribution": prompts[[*keys, "head_layer", "head", "active"]],
        "truncated": prompts.drop_duplicates(keys)[[*keys, "rank", "text"]].assign(start=0, end=2),
    }
    named = heads[["layer", "neuron"]].drop_duplicates()
    files["neurons"] = named.assign(token=" tea")
    for name, table in files.items():
        table.to_parquet(tmp_path / f"{name}.parquet")
    with answering(lambda number, _: completion("No" if number > 1 else "It is so.")) as (
        url,
        seen,
    ):
        changed = {"base_url": url, "key_variable": "LOOKUPS_TEST_KEY", "parallel": 1}
        endpoint = config["lookups"]["explanations"]["endpoint"] | changed
        outputs = {"explanations": "e.jsonl", "verdicts": "v.parquet", "scores": "s.parquet"}
        job = Job(
            input={name: str(tmp_path / f"{name}.parquet") for name in files},
            output={name: str(tmp_path / path) for name, path in outputs.items()},
            params={
                "explainer": "openai",
                "examples": 4,
                "published": False,
                "max_new_tokens": 20,
                "endpoint": endpoint,
                "cache": str(tmp_path / "cache" / "answers.jsonl"),
            },
            wildcards={},
            threads=1,
            log=str(tmp_path / "log"),
        )
        importlib.import_module("lookups.explanations").main(job)
    assert {request["key"] for request in seen} == {f"Bearer {KEY}"}
    scores = pd.read_parquet(tmp_path / "s.parquet")
    # it said no to the one active and to the one inactive test prompt
    assert scores["score"][0] == 0.5
    assert scores["left_out"][1] == ex.ONE_CLASS
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 8
    assert not any(KEY.encode() in content for content in written)


# --- an endpoint's faults ---


def asker(base_url, tmp_path, **changes):
    at = endpoint(base_url, **changes)
    return EndpointJudge(at, AnswerCache(tmp_path / "cache.jsonl"), max_new_tokens=4)


def test_an_endpoint_that_is_down_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot be reached, tried 2 times"):
        asker(f"http://127.0.0.1:{free_port()}/v1", tmp_path, retries=1).write(["a"])


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable_and_never_shown(tmp_path, monkeypatch, status):
    monkeypatch.setenv("LOOKUPS_TEST_KEY", KEY)
    with answering(lambda *_: fault(status, message=f"bad key {KEY}")) as (url, requests):
        judge = asker(url, tmp_path, key_variable="LOOKUPS_TEST_KEY")
        with pytest.raises(UserError, match=r"refuses the key.*LOOKUPS_TEST_KEY") as caught:
            judge.write(["a"])
    assert requests[0]["key"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)
    assert not (tmp_path / "cache.jsonl").exists()


def test_a_key_echoed_in_another_fault_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKUPS_TEST_KEY", KEY)
    with answering(lambda *_: fault(404, message=f"no model for {KEY}")) as (url, _):
        judge = asker(url, tmp_path, key_variable="LOOKUPS_TEST_KEY")
        with pytest.raises(UserError, match=r"status 404.*no model") as caught:
            judge.write(["a"])
    assert KEY not in str(caught.value)


def test_a_key_that_is_not_set_is_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.delenv("LOOKUPS_TEST_KEY", raising=False)
    with pytest.raises(UserError, match="LOOKUPS_TEST_KEY is not set"):
        asker("http://127.0.0.1:1/v1", tmp_path, key_variable="LOOKUPS_TEST_KEY")


def test_a_time_out_is_named(tmp_path):
    def slow(number, body):
        time.sleep(1)
        return completion("late")

    with (
        answering(slow) as (url, _),
        pytest.raises(UserError, match=r"did not answer within 0\.2 s, tried 1 times"),
    ):
        asker(url, tmp_path, timeout=0.2).write(["a"])


@pytest.mark.parametrize(
    "body",
    [
        *("<html>welcome</html>", "{}", '{"choices": []}', '{"choices": [{}]}', "{not json"),
        '{"choices": 3}',
        '{"choices": [{"message": {"content": ["a"]}}]}',
        '{"choices": [{"message": {"content": {"a": 1}}}]}',
        '{"choices": ' + "[" * 20_000,
    ],
)
def test_something_else_than_a_chat_completion_is_named(tmp_path, body):
    with (
        answering(lambda *_: (200, body)) as (url, _),
        pytest.raises(UserError, match="something else than a chat completion"),
    ):
        asker(url, tmp_path).write(["a"])


def test_rate_limits_and_server_faults_are_retried(tmp_path):
    replies = {1: fault(429), 2: fault(500)}
    with answering(lambda number, _: replies.get(number, completion("fine"))) as (url, requests):
        assert asker(url, tmp_path, retries=2).write(["a"]) == ["fine"]
    assert len(requests) == 3


def test_nonsense_answers_are_recorded_and_counted(tmp_path):
    def nonsense(number, body):
        asked = body["messages"][0]["content"]
        return completion("It is so." if "in common" in asked else "Bananas")

    heads, prompts = study()
    with answering(nonsense) as (url, _):
        explained = ex.explain_heads(asker(url, tmp_path), heads, prompts, examples=4)
    scores = ex.score_heads(*explained)
    assert scores["unanswered"][0] == 2
    assert scores["left_out"][0] == ex.UNANSWERED


def test_a_question_that_is_refused_counts_as_not_answered_and_the_rest_goes_on(tmp_path):
    def filtered(number, body):
        if "bad" in body["messages"][0]["content"]:
            return fault(400, code="content_filter")
        return completion("fine")

    with answering(filtered) as (url, _):
        assert asker(url, tmp_path).write(["good", "bad", "better"]) == ["fine", "", "fine"]


def test_answers_before_a_fault_are_kept_and_not_asked_again(tmp_path):
    replies = {3: fault(401)}
    with answering(lambda number, _: replies.get(number, completion(f"answer {number}"))) as (
        url,
        seen,
    ):
        judge = asker(url, tmp_path, parallel=1)
        with pytest.raises(UserError, match=r"answers so far are kept in .*cache\.jsonl"):
            judge.write(list("abcdef"))
        assert len(seen) == 3
        answers = asker(url, tmp_path, parallel=1).write(list("abcdef"))
    assert answers == ["answer 1", "answer 2", "answer 4", "answer 5", "answer 6", "answer 7"]


def test_a_half_written_line_loses_its_own_answer_only(tmp_path):
    with answering(lambda number, _: completion(f"answer {number}")) as (url, seen):
        asker(url, tmp_path, parallel=1).write(["a", "b"])
        path = tmp_path / "cache.jsonl"
        path.write_text(path.read_text()[:-20])
        assert asker(url, tmp_path, parallel=1).write(["a", "b"]) == ["answer 1", "answer 3"]
        assert asker(url, tmp_path, parallel=1).write(["a", "b"]) == ["answer 1", "answer 3"]
    assert len(seen) == 3


@pytest.mark.parametrize("said", ["a\u2028b\u0085c", "a\x0bb\x1cc", "é ü 希望"])
def test_an_answer_is_paid_for_once_whatever_its_characters(tmp_path, said):
    with answering(lambda *_: completion(said)) as (url, seen):
        assert asker(url, tmp_path).write(["a"]) == [said]
        assert asker(url, tmp_path).write(["a"]) == [said]
    assert len(seen) == 1


def test_half_of_a_character_in_an_answer_is_a_question_mark(tmp_path):
    with answering(lambda *_: completion("a\ud800b")) as (url, seen):
        assert asker(url, tmp_path).write(["a"]) == ["a?b"]
        assert asker(url, tmp_path).write(["a"]) == ["a?b"]
    assert len(seen) == 1


def test_a_cache_of_another_shape_is_asked_again(tmp_path):
    lines = ["3", "[]", '{"key": ["a"], "answer": "b"}', '{"key": "a", "answer": 3}', "[" * 20_000]
    (tmp_path / "cache.jsonl").write_text("\n".join(lines) + "\n\udcff", errors="surrogateescape")
    with answering(lambda *_: completion("fine")) as (url, _):
        assert asker(url, tmp_path).write(["a"]) == ["fine"]


def test_the_cap_stops_a_run_before_its_first_request(tmp_path):
    heads, prompts = study()
    with answering(lambda number, _: completion("Yes")) as (url, seen):
        with pytest.raises(UserError, match=r"3 requests are needed, 2 allowed, none was made"):
            ex.explain_heads(asker(url, tmp_path, max_requests=2), heads, prompts, examples=4)
        assert not seen
        ex.explain_heads(asker(url, tmp_path, max_requests=3), heads, prompts, examples=4)
        # what is answered does not count towards the cap
        ex.explain_heads(asker(url, tmp_path, max_requests=1), heads, prompts, examples=4)
        assert len(seen) == 3


def test_tokens_and_cost_are_shown_before_the_first_request(tmp_path, caplog):
    heads, prompts = study()
    shown = []

    def answer(number, _):
        shown.append(len(caplog.records))
        return completion("Yes")

    with caplog.at_level("INFO"), answering(answer) as (url, _):
        judge = asker(url, tmp_path, price=(1000.0, 1000.0))
        ex.explain_heads(judge, heads, prompts, examples=4)
    message = caplog.records[0].getMessage()
    assert "3 requests" in message
    assert "tokens in, at most 12 out, at most $" in message
    assert shown[0] >= 1
