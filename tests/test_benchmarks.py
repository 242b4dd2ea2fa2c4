"""Benchmarks: any number of choices, by letters and by answers, in the data sets' own forms."""

import copy
import importlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import plain
import pytest
import yaml
from conftest import ROOT
from scipy import stats
from tiny_models import name_model

from steerpaper.engine.condition import Condition
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice
from steerpaper.errors import UserError
from steerpaper.stats import Interval, share_difference_interval, share_interval
from steerpaper.steering.benchmark_prompts import ask, with_letters
from steerpaper.steering.benchmarks import benchmark_rows, score_choices
from steerpaper.steering.cost_prompts import read_knowledge
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.questions import Question, dealt, letter, numbered, part, read_questions
from steerpaper.steering.scores import with_norms
from steerpaper.steering.tables.benchmarks import ALL, MEAN, benchmarks_table, benchmarks_tables
from steerpaper.workflow.config import validated
from steerpaper.workflow.files import read_jsonl, read_table
from steerpaper.workflow.job import Job
from steerpaper.workflow.places import data_sources
from steerpaper.workflow.sources import fetched, to_fetch

KNOWLEDGE = ROOT / "data/knowledge.jsonl"
BLOCK = {"layers": [1]}
INTERVAL = Interval(seed=1, resamples=300, confidence=0.95)
CONDITIONS = [
    Condition((1,), "behavior", -2.0),
    Condition((1,), "behavior", 1.0),
    Condition((0, 2), "random-0", 1.0, positions="last"),
]
HEADER = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"


def question(n, number=1, category="", correct=0):
    choices = tuple(f"Answer {place} of {number}" for place in range(n))
    source = f"q, line {number}"
    return Question(f"What is {number}?", choices, correct, category, source, number=number)


def asked(lm, sizes=(2, 3, 5), contrasts=("letters", "answers")):
    """Prompts of questions with unlike numbers of choices, whose answers have unlike lengths."""
    words = [
        "Carry",
        "on",
        "with",
        "the",
        "work",
        "until",
        "it",
        "is",
        "done",
        "and",
        "then",
        "rest",
    ]
    questions = [
        Question(
            f"How do you go about task number {number}?",
            tuple(" ".join(words[: 1 + 2 * place]) for place in range(n)),
            number % n,
            "art" if number % 2 else "law",
            f"q, line {number}",
            None,
            number,
        )
        for number, n in enumerate(sizes, 1)
    ]
    options = {"benchmark": "tasks", "system": None, "context": lm.context}
    return ask(lm.tokenizer, questions, contrasts, **options)


def make_vectors(lm):
    generator = np.random.default_rng(0)
    shape = (lm.n_layers, lm.width)
    return {
        name: generator.standard_normal(shape).astype(np.float32)
        for name in ("behavior", "random-0")
    }


def plain_scores(lm, prompts, vectors):
    """Every choice alone: a full forward pass each, batch of one, no cache."""
    found = []
    for prompt in prompts:
        rows = []
        for ids in prompt["continuation_ids"]:
            length, start = len(prompt["ids"]) + len(ids), len(prompt["ids"]) - 1
            changes = [None] + [plain.steering(c, vectors, length, start) for c in CONDITIONS]
            rows.append([plain.logprob(lm, prompt["ids"], ids, change) for change in changes])
        found.append(np.array(rows))
    return found


def test_choices_scores_equal_plain_forward_passes(lm):
    prompts, vectors = asked(lm), make_vectors(lm)
    ours = score_choices(lm, prompts, vectors, CONDITIONS, budget=300)
    for mine, theirs in zip(ours, plain_scores(lm, prompts, vectors), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-3)


def test_choices_scores_are_the_same_to_the_bit_for_any_budget_order_and_shard(lm):
    prompts, vectors = asked(lm), make_vectors(lm)

    def scores(some, budget):
        return score_choices(lm, some, vectors, CONDITIONS, budget=budget)

    large = scores(prompts, 8000)
    others = [scores(prompts, 1), scores(prompts[::-1], 300)[::-1]]
    others.append(scores(prompts[:2], 300) + scores(prompts[2:], 300))
    for other in others:
        for one, same in zip(large, other, strict=True):
            np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("contrast", ["letters", "answers"])
def test_two_choices_are_asked_and_scored_as_an_item_s_two_answers_are(lm, contrast):
    items = read_knowledge(KNOWLEDGE)[:4]
    options = {"behavior": "knowledge", "split": "test", "system": "Be brief.", "seed": 1}
    prompts = as_rows(
        serialize(lm.tokenizer, items, contrast=contrast, context=lm.context, **options)
    )
    questions = []
    for item, prompt in zip(items, prompts, strict=True):
        choices = (item.matching, item.other)
        correct = "AB".index(prompt["side"]) if contrast == "letters" else 0
        questions.append(
            Question(item.question, choices[:: -1 if correct else 1], correct, "", item.source)
        )
    options = {"benchmark": "knowledge", "system": "Be brief.", "context": lm.context}
    ours = ask(lm.tokenizer, questions, [contrast], **options)
    for mine, theirs in zip(ours, prompts, strict=True):
        assert (mine["text"], mine["ids"]) == (theirs["text"], theirs["ids"])
        both = [theirs["matching_ids"], theirs["other_ids"]]
        assert mine["continuation_ids"] == both[:: -1 if mine["correct"] else 1]
        assert mine["boundary"] == theirs["boundary"]
    vectors = make_vectors(lm)
    pairs = [Choice(p["id"], p["ids"], p["matching_ids"], p["other_ids"]) for p in prompts]
    unsteered, steered = score(lm, pairs, vectors, CONDITIONS, budget=400)
    found = score_choices(lm, ours, vectors, CONDITIONS, budget=400)
    for n, one in enumerate(found):
        right = one[ours[n]["correct"]]
        np.testing.assert_array_equal(right, [unsteered[n, 0], *steered[n, :, 0]])


def test_letters_of_up_to_26_choices_are_one_token_each_behind_one_prompt(load_tiny):
    lm = load_tiny("llama")
    options = {"benchmark": "b", "system": None, "context": None}
    (row,) = ask(lm.tokenizer, [question(26)], ["letters"], **options)
    assert row["continuations"] == [letter(place) for place in range(26)]
    assert len({ids for (ids,) in row["continuation_ids"]}) == 26
    assert "\n (Z) Answer 25 of 1" in row["text"]
    assert row["text"].endswith("(")
    with pytest.raises(UserError, match=r"q, line 1: 27 choices have no letter each \(A to Z\)"):
        ask(lm.tokenizer, [question(27)], ["letters"], **options)
    assert len(ask(lm.tokenizer, [question(27)], ["answers"], **options)[0]["continuations"]) == 27


def test_letters_that_a_tokenizer_does_not_have_are_refused(load_tiny, monkeypatch):
    lm = load_tiny("llama")
    module = "steerpaper.steering.benchmark_prompts"
    same = lambda tokenizer, text, one: ([7], True)  # noqa: E731
    monkeypatch.setattr(f"{module}.continuation_ids", same)
    options = {"benchmark": "b", "system": None, "context": None}
    with pytest.raises(UserError, match="does not write the letters A to C after"):
        ask(lm.tokenizer, [question(3)], ["letters"], **options)


def test_p_correct_and_accuracy_are_those_of_all_choices():
    prompts = [
        {"id": "a", "contrast": "letters", "category": "x", "correct": 1},
        {"id": "b", "contrast": "letters", "category": "y", "correct": 0},
    ]
    scores = [np.log([[0.1], [0.2], [0.1]]), np.log([[0.3], [0.3]])]
    table = benchmark_rows(prompts, [], scores)
    assert table["p_correct"].tolist() == pytest.approx([0.5, 0.5])
    assert table["mass"].tolist() == pytest.approx([0.4, 0.6])
    assert table["choices"].tolist() == [3, 2]
    assert np.exp(table["logprob_wrong"]).tolist() == pytest.approx([0.1, 0.3])
    summary = benchmarks_table(table.assign(norm=np.nan), BLOCK, interval=INTERVAL)
    whole = summary[summary["category"] == ALL].iloc[0]
    # a draw is not correct; of three choices guessing gives a third
    assert (whole["value"], whole["p_correct"]) == (0.5, pytest.approx(0.5))
    assert whole["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def made_scores(n=60, seed=3):
    """Scores of questions of three categories, unequally many, unsteered and steered."""
    generator = np.random.default_rng(seed)
    categories = np.repeat(["law", "art", "tea"], [n // 2, n // 3, n - n // 2 - n // 3])
    prompts = [
        {"id": f"q{k:03}", "contrast": "letters", "category": str(name), "correct": k % 4}
        for k, name in enumerate(categories)
    ]
    wanted = [Condition((1,), "behavior", 1.0), Condition((1,), "random-0", 1.0)]
    scores = [np.log(generator.dirichlet(np.ones(4), size=3).T * 0.9) for _ in range(len(prompts))]
    table = benchmark_rows(prompts, wanted, scores)
    right, share = [], []
    for one, prompt in zip(np.exp(scores), prompts, strict=True):
        right.append(one.argmax(axis=0) == prompt["correct"])
        share.append(one[prompt["correct"]] / one.sum(axis=0))
    return table.assign(norm=1.0), categories, np.array(right), np.array(share)


def test_rows_by_category_in_all_and_over_categories_are_means_by_hand():
    scores, categories, right, share = made_scores()
    # the rows' order does not matter
    shuffled = scores.sample(frac=1, random_state=0)
    unsteered = shuffled["direction"] == "unsteered"
    shuffled = pd.concat([shuffled[unsteered], shuffled[~unsteered]])
    for rows in (scores, shuffled):
        table = benchmarks_table(rows, BLOCK, interval=INTERVAL)
        assert list(table["category"].unique()) == [ALL, MEAN, "art", "law", "tea"]
        for n, (direction, m) in enumerate([("unsteered", 0), ("behavior", 1), ("random-0", 1)]):
            mine = table[(table["direction"] == direction) & (table["multiplier"] == m)]
            mine = mine.set_index("category")
            means = {}
            for name in ("art", "law", "tea"):
                here = categories == name
                means[name] = right[here, n].mean(), share[here, n].mean()
                assert mine.loc[name, "n"] == here.sum()
                moved = right[here, n].mean() - right[here, 0].mean()
                assert mine.loc[name, "change"] == pytest.approx(moved)
            means[ALL] = right[:, n].mean(), share[:, n].mean()
            means[MEAN] = tuple(np.mean([means[name] for name in ("art", "law", "tea")], axis=0))
            for name, (value, p_correct) in means.items():
                assert mine.loc[name, "value"] == pytest.approx(value)
                assert mine.loc[name, "p_correct"] == pytest.approx(p_correct)
            assert mine["chance"].tolist() == pytest.approx([0.25] * 5)


def test_accuracy_has_wilson_s_interval_and_its_change_a_paired_one():
    scores, _, right, _ = made_scores()
    table = benchmarks_table(scores, BLOCK, interval=INTERVAL)
    row = table[(table["category"] == ALL) & (table["direction"] == "behavior")].iloc[0]
    wilson = stats.binomtest(int(right[:, 1].sum()), len(right)).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((wilson.low, wilson.high))
    values = right.astype(float)
    _, low, high = share_interval(values[:, 1], INTERVAL)
    assert (row["low"], row["high"]) == pytest.approx((float(low), float(high)))
    _, low, high = share_difference_interval(values[:, 1] - values[:, 0], INTERVAL)
    assert (row["change_low"], row["change_high"]) == pytest.approx((float(low), float(high)))


def test_the_mean_of_categories_interval_holds_the_truth_of_made_up_benchmarks():
    # four subjects of unequal size, and how often each is answered right
    sizes, truth = [40, 20, 10, 30], [0.3, 0.5, 0.7, 0.6]
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(60):
        rows = []
        for name, n, p in zip("abcd", sizes, truth, strict=True):
            for k in range(n):
                right = generator.random() < p
                row = {"contrast": "answers", "category": name, "item": f"{name}{k}", "choices": 4}
                row |= {"logprob": float(right), "logprob_wrong": 0.5, "p_correct": 0.25}
                rows.append(row)
        labels = {"layer": -1, "layers": "", "direction": "unsteered", "multiplier": 0.0}
        scores = pd.DataFrame(rows).assign(**labels, norm=np.nan, mass=np.nan)
        table = benchmarks_table(scores, BLOCK, interval=INTERVAL).set_index("category")
        held += table.loc[MEAN, "low"] <= np.mean(truth) <= table.loc[MEAN, "high"]
    assert 0.88 <= held / 60 <= 1


def test_of_fewer_than_five_questions_there_is_no_interval_and_a_flag():
    scores, *_ = made_scores()
    few = scores[scores["item"].isin([f"q{k:03}" for k in (0, 1, 58, 59)])]
    table = benchmarks_table(few, BLOCK, interval=INTERVAL)
    intervals = [
        f"{name}{end}" for name in ("change_", "p_correct_", "") for end in ("low", "high")
    ]
    assert table[intervals].isna().all(axis=None)
    assert table["value"].notna().all()
    assert set(table["flags"]) == {"no interval"}
    some = benchmarks_table(scores, BLOCK, interval=INTERVAL)
    assert set(some.loc[some["category"] == "tea", "flags"]) == {"few items"}
    assert set(some.loc[some["category"] == ALL, "flags"]) == {""}
    low = benchmarks_table(scores.assign(mass=0.2), BLOCK, interval=INTERVAL)
    assert low["flags"].str.contains("low letter mass").all()


def test_a_benchmark_of_one_category_has_rows_of_the_whole_alone():
    scores, *_ = made_scores()
    table = benchmarks_table(scores.assign(category=""), BLOCK, interval=INTERVAL)
    assert table["category"].tolist() == [ALL] * 3


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_truthfulqa_s_table_gives_the_best_answer_against_the_incorrect_ones(tmp_path):
    rows = (
        "\ufeff"
        + HEADER
        + ('Adversarial,Law,"Is it, here?",No,No; Not here,"Yes; Yes. ;Of course;;It is\nso",x\n')
    )
    (found,) = read_questions(write(tmp_path / "t.csv", rows), "truthfulqa", "t.csv")
    assert found.question == "Is it, here?"
    assert found.choices == ("No.", "Yes.", "Of course.", "It is\nso.")
    assert (found.correct, found.category, found.source) == (0, "Law", "t.csv, line 2")


def test_mmlu_is_read_from_the_hub_s_rows_and_from_the_original_files(tmp_path):
    choices = ["0", "30", "3", "10"]
    row = {"question": "The ring's?", "subject": "algebra", "choices": choices, "answer": 2}
    rows = write(tmp_path / "test.jsonl", json.dumps(row) + "\n")
    pd.DataFrame([row]).to_parquet(tmp_path / "test.parquet")
    original = write(tmp_path / "algebra_test.csv", "The ring's?,0,30,3,10,C\n")
    one, *others = (
        read_questions(path, "mmlu", path.name, category="algebra")[0]
        for path in (rows, original, tmp_path / "test.parquet")
    )
    assert [replace(other, source="") for other in others] == [replace(one, source="")] * 2
    assert (one.choices, one.correct, one.category) == (tuple(choices), 2, "algebra")


def test_the_project_s_own_questions_are_read_with_one_wrong_answer_or_several(tmp_path):
    found = read_questions(KNOWLEDGE, "own", "knowledge")
    assert [(q.question, *q.choices) for q in found] == [
        (item.question, item.matching, item.other) for item in read_knowledge(KNOWLEDGE)
    ]
    row = {"question": "Q?", "correct": "a", "wrong": ["b", "c"], "category": "tea"}
    (found,) = read_questions(write(tmp_path / "q.jsonl", json.dumps(row)), "own", "q.jsonl")
    assert (found.choices, found.correct, found.category) == (("a", "b", "c"), 0, "tea")


CAA = {
    "prompt": "Find it.\n\nChoices:\n(A) 0\n(B) 30",
    "correct": "(B)",
    "incorrect": "(A)",
    "correct_full_text": "30",
    "incorrect_full_text": "0",
    "category": "abstract_algebra",
}


def test_caa_s_questions_are_shown_by_letters_as_their_file_writes_them(tmp_path, load_tiny):
    path = write(tmp_path / "mmlu.json", json.dumps([CAA, {**CAA, "correct": "(A)"}]))
    found = read_questions(path, "caa", "mmlu.json")
    assert (found[0].question, found[0].choices, found[0].correct) == ("Find it.", ("0", "30"), 1)
    assert (found[1].choices, found[1].correct) == (("30", "0"), 0)
    options = {"benchmark": "b", "system": None, "context": None}
    tokenizer = load_tiny("llama").tokenizer
    letters, answers = ask(tokenizer, numbered(found[:1]), ["letters", "answers"], **options)
    assert CAA["prompt"] in letters["text"]
    assert "Choices" not in answers["text"]
    # what their code renders for Llama 2, a letter behind it (utils/tokenize.py)
    theirs = copy.deepcopy(tokenizer)
    theirs.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }}{% endif %}{% endfor %}"
    )
    (row,) = ask(theirs, found[:1], ["letters"], **options)
    assert row["text"] == f"[INST] {CAA['prompt']} [/INST] ("
    assert row["continuations"] == ["A", "B"]


def test_caa_s_printed_average_is_the_mean_of_categories_of_p_correct():
    scores, *_ = made_scores()
    a_prob = [np.exp(row) for row in scores["logprob"]]
    # two choices: their denominator is p(A) + p(B)
    two = scores.assign(
        choices=2,
        p_correct=np.exp(scores["logprob"])
        / (np.exp(scores["logprob"]) + np.exp(scores["logprob_wrong"])),
    )
    results = [
        {"category": row.category, "a": a, "b": np.exp(row.logprob_wrong)}
        for row, a in zip(scores.itertuples(), a_prob, strict=True)
        if row.direction == "behavior"
    ]
    by_category = {}
    for result in results:
        by_category.setdefault(result["category"], []).append(
            result["a"] / (result["a"] + result["b"])
        )
    printed = np.mean([np.mean(values) for values in by_category.values()])
    table = benchmarks_table(two, BLOCK, interval=INTERVAL)
    row = table[(table["category"] == MEAN) & (table["direction"] == "behavior")].iloc[0]
    assert row["p_correct"] == pytest.approx(printed)
    assert row["p_correct_low"] < printed < row["p_correct_high"]


def test_a_part_has_of_each_category_as_many_and_a_larger_one_holds_it():
    names = ["law"] * 30 + ["art"] * 3 + ["tea"] * 10
    questions = [question(3, n, name) for n, name in enumerate(names, 1)]
    small, large = (part(questions, n, 1, "b") for n in (6, 20))
    assert Counter(q.category for q in small) == {"law": 2, "art": 2, "tea": 2}
    # art has three: the others fill up
    sizes = Counter(q.category for q in large)
    assert sizes["art"] == 3
    assert {sizes["law"], sizes["tea"]} == {8, 9}
    assert {q.number for q in small} < {q.number for q in large}
    assert [q.number for q in large] == sorted(q.number for q in large)
    assert part(questions, 6, 1, "b") == small != part(questions, 6, 2, "b")
    assert part(questions, None, 1, "b") == questions == part(questions, 99, 1, "b")


@pytest.mark.parametrize("n", [1, 11, 40])
def test_each_letter_is_the_correct_one_equally_often_and_no_choice_is_lost(n):
    questions = [question(size, k) for size in (2, 4, 5) for k in range(size * 100, size * 100 + n)]
    found = dealt(questions, 1, "b")
    for size in (2, 4, 5):
        mine = [q for q in found if len(q.choices) == size]
        letters = Counter(q.correct for q in mine)
        counts = [letters[place] for place in range(size)]
        assert max(counts) - min(counts) <= 1
    for before, after in zip(questions, found, strict=True):
        assert sorted(before.choices) == sorted(after.choices)
        assert after.choices[after.correct] == before.choices[before.correct]
    assert dealt(questions, 1, "b") == found
    if n == 40:
        assert dealt(questions, 2, "b") != found
        # where the wrong ones stand follows no order either
        order = [tuple(np.delete(q.choices, q.correct)) for q in found if len(q.choices) == 4]
        assert sum(list(one) == sorted(one) for one in order) < 20


def test_dealing_one_question_more_often_gives_each_letter_by_chance():
    # one question alone: which letter it gets is drawn
    letters = Counter(dealt([question(4)], seed, "b")[0].correct for seed in range(400))
    assert stats.chisquare([letters[place] for place in range(4)]).pvalue > 1e-4


def test_bad_questions_are_left_out_where_that_is_asked_for(tmp_path, load_tiny, caplog):
    good = {"question": "Q?", "choices": ["a", "b"], "answer": 0}
    lines = [good, {**good, "choices": ["a", "a"]}, {**good, "answer": 2}, {**good, "question": ""}]
    path = write(tmp_path / "m.jsonl", "".join(json.dumps(one) + "\n" for one in lines) + "not\n")
    assert len(read_questions(path, "mmlu", "m.jsonl", bad_items="drop")) == 1
    assert [record.args[0].args[0].partition(":")[0] for record in caplog.records] == [
        f"m.jsonl, line {n}" for n in (2, 3, 4, 5)
    ]
    long = replace(question(2, 2), question="word " * 300)
    options = {"benchmark": "b", "system": None, "context": 200}
    tokenizer = load_tiny("llama").tokenizer
    both = ["letters", "answers"]
    kept = ask(tokenizer, [question(2), long, question(27, 3)], both, bad_items="drop", **options)
    # out of both ways of asking, so that these are of the same questions
    assert [row["id"] for row in kept] == ["b-1", "b-1"]
    with pytest.raises(UserError, match=r"line 2: \d+ tokens with its longest choice"):
        ask(tokenizer, [long], both, **options)
    with pytest.raises(UserError, match="every question was dropped"):
        ask(tokenizer, [long], both, bad_items="drop", **options)


def test_with_letters_lists_choices_as_items_do():
    assert with_letters(question(2)) == (
        "What is 1?\n\nChoices:\n (A) Answer 0 of 1\n (B) Answer 1 of 1"
    )


@pytest.fixture
def study(tmp_path, model_folders, load_tiny):
    """A folder with what the scripts read."""
    from steerpaper.workflow.files import write_tensors

    shutil.copytree(model_folders["llama"], tmp_path / "model")
    name_model(tmp_path / "model")
    write_tensors(tmp_path / "vectors.safetensors", make_vectors(load_tiny("llama")), {})
    (tmp_path / "block.json").write_text(json.dumps({"layer": 1, "layers": [1, 2]}))
    return tmp_path


def run(study, script, inputs, output, params, budget=400):
    job = Job(
        input={"model": f"{study}/model/engine.json"} | inputs,
        output=output,
        params=params,
        wildcards={},
        threads=1,
        log=str(study / "log"),
        batch_tokens=budget,
    )
    importlib.import_module(f"steering.{script}").main(job)
    return next(iter(output.values()))


def test_the_scripts_go_from_two_files_to_a_table_the_same_to_the_byte_for_any_budget(study):
    for name in ("law", "tea"):
        rows = [f"What of {name} {k}?,one,two {k},three,four,{'ABCD'[k]}\n" for k in range(4)]
        rows = "".join(rows)
        write(study / f"{name}.csv", rows)
    params = {"benchmark": "mmlu", "categories": ["law", "tea"], "form": "mmlu", "questions": 6}
    params |= {"contrasts": ["letters", "answers"], "bad_items": "stop", "system": None}
    params |= {"date": "2024-07-26", "seed": 3}
    raw = {"raw": [str(study / "law.csv"), str(study / "tea.csv")]}
    prompts = run(study, "benchmark_prompts", raw, {"prompts": f"{study}/p.jsonl"}, params)
    rows = read_jsonl(prompts)
    assert Counter((row["contrast"], row["category"]) for row in rows) == {
        (contrast, name): 3 for contrast in ("letters", "answers") for name in ("law", "tea")
    }
    # the letters are the file's
    assert {row["choices"][0] for row in rows} == {"one"}
    inputs = {"prompts": prompts, "vectors": f"{study}/vectors.safetensors"}
    inputs |= {"block": f"{study}/block.json"}
    params = {"run": {"device": "cpu", "dtype": "float32"}, "positions": "response"}
    params |= {"multipliers": [-1, 1], "random": {"directions": 1, "multipliers": [1]}}
    files = [
        run(study, "benchmarks", inputs, {"scores": f"{study}/{budget}.parquet"}, params, budget)
        for budget in (1, 4000)
    ]
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()
    table = benchmarks_table(read_table(files[0]), BLOCK, interval=INTERVAL)
    # two ways of asking × (all, mean, two subjects) × (unsteered, two multipliers, one random)
    assert len(table) == 2 * 4 * 4
    assert table.loc[table["category"] == ALL, "n"].eq(6).all()
    assert set(table["layers"]) == {"", "1+2"}
    params["multipliers"] = [1e39]
    with pytest.raises(UserError, match=r"multiplier 1e\+39"):
        run(study, "benchmarks", inputs, {"scores": f"{study}/over.parquet"}, params)
    assert not (study / "over.parquet").exists()


def test_a_steered_table_s_accuracy_is_that_of_plain_passes(load_tiny):
    lm = load_tiny("gpt2")
    prompts, vectors = asked(lm, sizes=(2, 3, 4, 5, 3, 4)), make_vectors(lm)
    scores = score_choices(lm, prompts, vectors, CONDITIONS, budget=500)
    rows = with_norms(benchmark_rows(prompts, CONDITIONS, scores), vectors, CONDITIONS)
    table = benchmarks_table(rows, BLOCK, interval=INTERVAL)
    theirs = plain_scores(lm, prompts, vectors)
    for contrast in ("letters", "answers"):
        mine = [n for n, prompt in enumerate(prompts) if prompt["contrast"] == contrast]
        right = [theirs[n].argmax(0) == prompts[n]["correct"] for n in mine]
        ours = table[(table["contrast"] == contrast) & (table["category"] == ALL)]
        assert ours["value"].tolist() == pytest.approx(list(np.mean(right, axis=0)))


def test_every_behaviour_s_table_of_every_benchmark_is_labelled_and_knows_its_own_block():
    scores, *_ = made_scores()
    names = [
        (behavior, benchmark) for behavior in ("calm", "warm") for benchmark in ("mmlu", "tea")
    ]
    blocks = {("calm", "answers"): BLOCK, ("warm", "answers"): {**BLOCK, "stands_out": False}}
    table = benchmarks_tables(dict.fromkeys(names, scores), blocks, interval=INTERVAL)
    assert list(table[["behavior", "benchmark"]].drop_duplicates().itertuples(index=False)) == names
    alone = benchmarks_table(scores, BLOCK, interval=INTERVAL)
    mine = table[(table["behavior"] == "calm") & (table["benchmark"] == "tea")]
    pd.testing.assert_frame_equal(mine[alone.columns].reset_index(drop=True), alone)
    steered = table[table["direction"] != "unsteered"]
    flagged = steered["flags"].str.contains("no block stands out")
    assert (flagged == (steered["behavior"] == "warm")).all()


def test_every_file_of_a_set_may_be_a_source_and_null_leaves_a_set_out():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    pinned = {"url": "https://a.org/b.csv", "sha256": "0" * 64}
    config["steering"]["benchmarks"] = {
        "behaviors": 1,
        "sets": {
            "knowledge": None,
            "tea": {"form": "own", "file": {"path": "data/knowledge.jsonl"}},
            "mmlu": {"form": "mmlu", "files": {"law": pinned, "art": str(KNOWLEDGE)}},
        },
    }
    filled = validated(config, ROOT / "config.schema.yaml")
    assert filled["steering"]["benchmarks"]["sets"]["tea"] == {
        "form": "own",
        "file": "data/knowledge.jsonl" if Path("data").is_dir() else str(KNOWLEDGE),
        "contrasts": ["letters", "answers"],
        "questions": None,
        "bad_items": "stop",
    }
    start = "steering.benchmarks.sets."
    keys = [key.removeprefix(start) for key, *_ in data_sources(filled) if key.startswith(start)]
    assert keys == ["tea.file", "mmlu.files.law", "mmlu.files.art"]
    assert to_fetch(filled) == {fetched(pinned): (f"{start}mmlu.files.law", pinned)}
