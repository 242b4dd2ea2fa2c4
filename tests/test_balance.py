"""Every stage that takes a part of the items takes as many of one side as of the other."""

import importlib
import json
import logging
import shutil
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerpaper.steering.balance import balanced, balanced_part
from steerpaper.steering.cost_prompts import read_knowledge
from steerpaper.steering.items import read_items
from steerpaper.steering.prompts import as_rows, reasoning_prompts, serialize
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
    (folder / "model/manifest.json").write_text(json.dumps({"name": "tiny", "revision": "0"}))
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
    write_tensors(folder / "activations.safetensors", both, {"n": 12})
    vectors = {"behavior": both["matching"].mean(0), "random-0": both["other"].mean(0)}
    write_tensors(folder / "vectors.safetensors", vectors, {})
    (folder / "block.json").write_text(json.dumps({"layer": 1, "layers": [1]}))
    (folder / "about.json").write_text(json.dumps({"markers": {}}))
    return folder


def run(study, script, params, inputs, outputs):
    names = ("vectors", "activations")
    common = {name: str(study / f"{name}.safetensors") for name in names}
    common |= {"model": str(study / "model/manifest.json"), "block": str(study / "block.json")}
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
    "estimators": ("prompts", STEERED | {"estimators": ["behavior"]}),
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
