"""Every stage that takes a part of the items takes as many of one side as of the other."""

import importlib
import itertools
import json
import logging
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import name_model

from steerpaper.stats import Interval
from steerpaper.steering.balance import balanced, balanced_part
from steerpaper.steering.conditions import score_rows
from steerpaper.steering.cost_prompts import read_knowledge
from steerpaper.steering.items import read_items
from steerpaper.steering.prompts import as_rows, reasoning_prompts, serialize
from steerpaper.steering.tables.geometry import geometry_tables
from steerpaper.steering.vectors import chance_dependence, side_dependence
from steerpaper.workflow.files import read_jsonl, read_table, write_jsonl, write_tensors
from steerpaper.workflow.job import Job

SIDES = st.lists(st.sampled_from("AB"), min_size=1, max_size=30)
RUN = {"run": {"device": "cpu", "dtype": "float32"}}
SAMPLING = {"max_new_tokens": 3, "temperature": 1.0, "top_p": 1.0, "samples": 2, "seed": 1}


@given(sides=SIDES, n=st.integers(0, 35))
def test_a_part_has_as_many_of_one_side_as_of_the_other_where_it_can(sides, n):
    part = balanced(sides, n)
    counts, there = Counter(sides[place] for place in part), Counter(sides)
    assert len(part) == min(n, len(sides))
    assert part == sorted(set(part))
    for side, other in ("AB", "BA"):
        # one side has more only by the odd one, or because the other is used up
        assert counts[side] - counts[other] <= n % 2 or counts[other] == there[other]


@given(sides=SIDES, n=st.integers(0, 30))
def test_a_larger_part_holds_the_smaller_one(sides, n):
    assert set(balanced(sides, n)) <= set(balanced(sides, n + 1))


@given(st.integers(0, 9), st.integers(1, 9), st.sampled_from([None, "A"]))
def test_of_items_without_two_sides_the_first_are_taken(n, k, side):
    assert balanced([side] * k, n) == list(range(min(n, k)))


def test_of_each_side_the_first_items_are_taken_in_the_files_order():
    assert balanced(list("AAAABBBA"), 4) == [0, 1, 4, 5]
    assert balanced(list("AAAABBBA"), 3) == [0, 1, 4]
    assert balanced(list("AAAAB"), 4) == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("sides", "said"),
    [("YYYYYN", "No in 1 and Yes in 3"), ("YYYY", "Yes in 4"), ("YYNN", ""), ("....", "")],
)
def test_a_part_that_cannot_be_balanced_is_named_with_its_counts(sides, said, caplog):
    names = {"Y": "Yes", "N": "No", ".": None}
    rows = [{"behavior": "tea", "contrast": "answers", "side": names[side]} for side in sides]
    with caplog.at_level(logging.WARNING):
        assert len(balanced_part(rows, 4)) == 4
    assert [said in record.getMessage() for record in caplog.records] == [True] * bool(said)


def yes_no_items(folder):
    """A published file of Yes and No: eight items whose matching answer is Yes, then four of No."""
    items = [
        {
            "question": f"Is it {number}?",
            "answer_matching_behavior": " Yes" if number < 8 else " No",
            "answer_not_matching_behavior": " No" if number < 8 else " yes ",
        }
        for number in range(12)
    ]
    (folder / "items.json").write_text(json.dumps(items))
    return read_items(folder / "items.json")


def test_answers_of_yes_and_no_have_sides_where_all_of_a_file_are(tmp_path):
    items = yes_no_items(tmp_path)
    assert [item.side for item in items] == ["Yes"] * 8 + ["No"] * 4
    other = {"question": "Tea?", "matching": "Yes", "other": "Rather not."}
    rows = [{"question": "Is it?", "matching": "YES", "other": "No"}, other]
    (tmp_path / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [item.side for item in read_items(tmp_path / "mixed.jsonl")] == [None, None]
    known = {"question": "Is 2 two?", "correct": "Yes", "wrong": "No"}
    (tmp_path / "knowledge.jsonl").write_text(json.dumps(known))
    assert [item.side for item in read_knowledge(tmp_path / "knowledge.jsonl")] == ["Yes"]


@pytest.fixture(scope="module")
def study(tmp_path_factory, model_folders, load_tiny):
    """A folder with what the scripts read, of a file of Yes and No."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(model_folders["llama"], folder / "model")
    name_model(folder / "model")
    lm, generator = load_tiny("llama"), np.random.default_rng(0)
    options = {"behavior": "is", "split": "test", "system": None, "seed": 3}
    options |= {"context": lm.context, "contrast": "answers"}
    prompts = serialize(lm.tokenizer, yes_no_items(folder), **options)
    write_jsonl(folder / "prompts.jsonl", as_rows(prompts))
    write_jsonl(folder / "reasoning.jsonl", reasoning_prompts(lm.tokenizer, prompts, system=None))
    rows = [{"system_prompt": "none", **row} for row in as_rows(prompts)]
    write_jsonl(folder / "system_prompts.jsonl", rows)
    shape = (12, lm.n_layers, lm.width)
    both = {name: generator.normal(size=shape).astype(np.float32) for name in ("matching", "other")}
    norms = {f"{name}_norms": np.linalg.norm(part, axis=2) for name, part in both.items()}
    write_tensors(folder / "activations.safetensors", both | norms, {"n": 12})
    of_items = {
        split: generator.normal(size=(n, *shape[1:]))
        for split, n in (("dev", 4), ("test", len(prompts)))
    }
    write_tensors(folder / "gradients.safetensors", of_items, {})
    vectors = {"behavior": both["matching"].mean(0), "random-0": both["other"].mean(0)}
    write_tensors(folder / "vectors.safetensors", vectors, {})
    (folder / "block.json").write_text(json.dumps({"layer": 1, "layers": [1]}))
    (folder / "about.json").write_text(json.dumps({"markers": {}, "negators": None}))
    return folder


def run(study, script, params, inputs, outputs):
    names = ("vectors", "activations", "gradients")
    common = {name: str(study / f"{name}.safetensors") for name in names}
    common |= {"model": str(study / "model/engine.json"), "block": str(study / "block.json")}
    job = Job(
        input=common | inputs,
        output=outputs,
        params=RUN | params,
        wildcards={"behavior": "is"},
        threads=1,
        log=str(study / "log"),
        batch_tokens=400,
    )
    importlib.import_module(f"steering.{script}").main(job)


STEERED = {"multipliers": [1], "positions": "response", "prompts": 4}
PARTS = {
    "estimators": ("prompts", STEERED | {"estimators": ["behavior"], "layers": "all"}),
    "transfer": ("prompts", STEERED | {"layers": "all", "norm": "target"}),
    "system_prompts": ("system_prompts", STEERED),
    "reasoning": ("reasoning", SAMPLING | {"prompts": 4, "multipliers": [1]}),
    "fixed_completions": (["prompts"], SAMPLING | {"prompts": 4}),
    "projection": (["prompts"], {"texts": 4, "behaviors": ["is"]}),
}


@pytest.mark.parametrize("script", list(PARTS))
def test_a_part_of_the_study_takes_a_balanced_part(study, script, tmp_path):
    name, params = PARTS[script]
    listed = isinstance(name, list)
    path = str(study / f"{name[0] if listed else name}.jsonl")
    inputs = {"prompts": [path] if listed else path, "about": str(study / "about.json")}
    if script == "projection":
        inputs |= {key: [str(study / f"{key}.safetensors")] for key in ("vectors", "activations")}
        inputs |= {"blocks": [str(study / "block.json")]}
    keys = ("scores", "chains", "completions", "table")
    output = tmp_path / "table.parquet"
    run(study, script, params, inputs, dict.fromkeys(keys, str(output)))
    # of the first four alone, every matching answer is Yes
    assert set(read_table(output)["prompt_id"]) == {"is-1", "is-2", "is-9", "is-10"}


def test_the_knowledge_questions_of_a_study_are_a_balanced_part(study, tmp_path):
    rows = [
        {
            "question": f"Is {n} even?",
            "correct": ("Yes", "No")[n > 5],
            "wrong": ("No", "Yes")[n > 5],
        }
        for n in range(10)
    ]
    (tmp_path / "knowledge.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "neutral.jsonl").write_text('{"text": "The sky is blue."}\n')
    params = {"texts": 1, "questions": 6, "contrasts": ["answers", "letters"], "system": None}
    inputs = {name: str(tmp_path / f"{name}.jsonl") for name in ("neutral", "knowledge")}
    files = [str(tmp_path / f"knowledge.{contrast}.jsonl") for contrast in params["contrasts"]]
    outputs = {"neutral": str(tmp_path / "texts.jsonl"), "knowledge": files}
    run(study, "cost_prompts", params | {"date": "2024-07-26", "seed": 1}, inputs, outputs)
    answers, letters = map(read_jsonl, files)
    assert Counter(row["side"] for row in answers) == {"Yes": 3, "No": 3}
    assert Counter(row["side"] for row in letters) == {"A": 3, "B": 3}


def of_sides(sides, behavior, side):
    """Activations whose differences are a behaviour, and a side for or against: [item, 1, 2]."""
    sign = np.array([1 if one in ("A", "Yes") else -1 for one in sides])[:, None, None]
    other = np.random.default_rng(0).normal(size=(len(sides), 1, 2))
    return other + behavior + sign * np.asarray(side, dtype=float), other


@pytest.mark.parametrize("sides", ["ABAB", ["No", "Yes", "Yes", "No"]])
def test_a_vector_that_is_half_side_is_told_to_be(sides):
    share = side_dependence(*of_sides(sides, np.array([4.0, 0]), [0, 2]), list(sides))
    np.testing.assert_allclose(share, [0.5])
    none = side_dependence(*of_sides(sides, np.array([4.0, 0]), [0, 0]), list(sides))
    np.testing.assert_allclose(none, [0], atol=1e-12)


def test_in_an_unbalanced_set_the_side_is_in_the_vector_itself():
    matching, other = of_sides("AAAB", np.array([0.0, 0]), [0, 2])
    # of the vector, (3 - 1) / 4 of 2, everything is the side's
    np.testing.assert_allclose(side_dependence(matching, other, "AAAB"), [2 / 1])


@pytest.mark.parametrize("sides", [["A"] * 4, [None] * 4])
def test_without_two_sides_there_is_no_dependence(sides):
    activations = of_sides(sides, np.array([1.0, 0]), [0, 1])
    assert np.isnan(side_dependence(*activations, sides)).all()
    assert np.isnan(chance_dependence(*activations, sides)).all()
    same = activations[:1] * 2
    assert np.isnan(side_dependence(*same, list("ABAB"))).all()


def test_chance_is_the_root_mean_square_over_all_ways_to_deal_the_sides():
    generator = np.random.default_rng(1)
    matching, other = (generator.normal(mean, 1, (7, 3, 5)) for mean in (0.5, 0))
    shares = [
        side_dependence(matching, other, ["AB"[place in chosen] for place in range(7)])
        for chosen in itertools.combinations(range(7), 3)
    ]
    expected = np.sqrt(np.square(shares).mean(axis=0))
    np.testing.assert_allclose(chance_dependence(matching, other, "AAAABBB"), expected)


def test_the_table_of_norms_says_what_of_a_vector_is_its_side():
    sides = {("tea", "answers"): [None] * 4, ("tea", "letters"): list("ABBA")}
    activations, vectors, prompts = {}, {}, {}
    for name, of_items in sides.items():
        matching, other = of_sides(of_items, np.array([4.0, 0]), [0, 2])
        activations[name] = {"matching": matching, "other": other}
        activations[name] |= {f"{side}_norms": np.ones((4, 1)) for side in ("matching", "other")}
        vectors[name] = {"mean_difference": (matching - other).mean(axis=0)}
        prompts[name] = iter([{"side": side} for side in of_items])
    interval = Interval(seed=1, resamples=50, confidence=0.95)
    tables = geometry_tables(activations, vectors, prompts, interval=interval, layers=[0])
    norms = tables["norms"].set_index("contrast")
    assert norms["side_share"].isna().to_dict() == {"answers": True, "letters": False}
    np.testing.assert_allclose(norms.loc["letters", "side_share"], 0.5)
    np.testing.assert_allclose(
        norms.loc["letters", "side_chance"], np.sqrt(16 / 3 * (1 / 2 + 1 / 2)) / 2 / 4
    )


def test_a_table_of_scores_holds_the_matching_side(study):
    rows = read_jsonl(study / "prompts.jsonl")
    scores = score_rows(rows, [], np.zeros((12, 2)), np.zeros((12, 0, 2)))
    assert scores["matching"].tolist() == ["Yes"] * 8 + ["No"] * 4
    assert scores["ab_mass"].isna().all()
    without = score_rows([{**rows[0], "side": None}], [], np.zeros((1, 2)), np.zeros((1, 0, 2)))
    assert without["matching"].tolist() == [None]
    letter = {**rows[0], "contrast": "letters", "matching": "(A", "side": "A"}
    scores = score_rows([letter], [], np.zeros((1, 2)), np.zeros((1, 0, 2)))
    assert scores["matching"].tolist() == ["A"]
