"""What jobs count: tokens, blocks and logits as by hand; the limit is measured once, and shown."""

import atexit
import json
import os
import runpy
import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import name_model

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, sample_sequences
from steerpaper.engine.gradients import item_gradients
from steerpaper.engine.limit import measure
from steerpaper.engine.needed import beginnings, reasoned, sampled, scored
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice
from steerpaper.steering.activations import read_activations
from steerpaper.workflow import counts
from steerpaper.workflow.counts import Limit
from steerpaper.workflow.files import read_json, write_jsonl

LAYERS = 4
# texts that share their first two tokens, the root; continuations of 3 and 2 tokens
ITEMS = [
    Choice("a", [3, 4, 5, 6, 7, 8], [9, 10, 11], [12, 13]),
    Choice("b", [3, 4, 15, 16, 17], [19, 20, 21], [22, 23]),
]


@pytest.fixture
def counted(load_tiny):
    """A tiny model, and what is counted of it from here on, with a limit of one a second."""
    lm = load_tiny("llama")
    counts.start_anew()
    counts.watch(lm.name, lm.n_layers, lambda _: Limit(1.0, 1000.0))
    yield lm, lambda: counts.report(64)
    counts.start_anew()


def test_activations_run_root_texts_and_continuations_once(counted):
    lm, report = counted
    read_activations(lm, ITEMS, 512)
    found = report()
    assert found["tokens"] == 2 + (4 + 3) + 2 * (3 + 2)
    assert found["whole"] == found["tokens"]
    assert found["logits"] == 0
    assert found["positions"] > found["whole"]
    assert found["limit_seconds"] == found["tokens"] * LAYERS
    assert found["needed"] == found["held"] == found["tokens"]


def test_scores_enter_behind_the_steered_block(counted):
    lm, report = counted
    vectors = {"v": np.ones((LAYERS, lm.width), dtype=np.float32)}
    conditions = [Condition((1,), "v", 1.0), Condition((1,), "v", 2.0), Condition((2,), "v", 1.0)]
    score(lm, ITEMS, vectors, conditions, budget=512)
    found = report()
    # a text's last token is steered; the last of a continuation is not run
    before, rows = 2 + (3 + 2), 2 * (1 + 2 + 1 + 1)
    assert found["tokens"] == before + rows * (1 + len(conditions))
    through = 2 * (LAYERS - 2) + (LAYERS - 3)
    assert found["whole"] == before + rows + rows * through / LAYERS
    assert found["logits"] == 2 * (3 + 2) * (1 + len(conditions))
    # by definition a text's last token is needed once for both of its continuations
    once = rows - 2
    assert found["held"] == found["whole"]
    assert found["needed"] == before + once + once * through / LAYERS


def test_completions_run_a_token_a_step_until_they_end(counted):
    lm, report = counted
    requests = [Request([3, 4, 5, 6 + k], None, ("counts", k)) for k in range(3)]
    made = sample_sequences(lm, requests, {}, Decoding(5, 1.0, 1.0, 512))
    found = report()
    # shared, own, and each row's last prompt token and all that it wrote but the last
    assert found["tokens"] == 3 + sum(map(len, made))
    assert found["logits"] == sum(map(len, made))
    assert found["held"] == found["tokens"]
    # what two wrote alike after another prompt is not the same
    assert found["needed"] == found["tokens"]


def test_a_pass_back_counts_as_another_forward(counted):
    lm, report = counted
    item_gradients(lm, ITEMS, "response", 512)
    found = report()
    before, rows = 2 + (3 + 2), 2 * (1 + 2 + 1 + 1)
    assert found["tokens"] == before + 2 * rows
    assert found["held"] == found["tokens"]
    assert found["needed"] == before + (rows - 2) + rows


@given(st.lists(st.lists(st.integers(0, 2), max_size=5), max_size=8))
def test_what_rows_begin_with_alike_is_needed_once(rows):
    assert beginnings(rows) == len({tuple(row[:k]) for row in rows for k in range(1, 1 + len(row))})


@pytest.mark.parametrize("positions", ["response", "turn", "last", "all"])
def test_a_steered_row_is_needed_from_its_first_steered_token_on(positions):
    prompts, behind = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 4]], [1, 1, 1]
    completions = [(0, [6, 7, 8]), (0, [6, 9, 8]), (1, [6, 7]), (2, [6, 7, 7])]
    conditions = [Condition((2, 3), "v", 1.0, positions=positions), Condition((1,), "v", 1.0)]
    start = {"response": 3, "last": 3, "turn": 2, "all": 0}
    rows = {(*prompts[n], *ids)[:k] for n, ids in completions for k in range(1, 4 + len(ids))}
    expected = len(rows) * LAYERS
    for condition in conditions:
        begins = start[condition.positions]
        nodes = {
            (tuple(prompts[n]), row)
            for n, ids in completions
            for k in range(begins + 1, len(prompts[n]) + len(ids))
            for row in [(*prompts[n], *ids)[:k]]
        }
        expected += len(nodes) * (LAYERS - 1 - condition.layers[0])
    assert scored(prompts, behind, completions, conditions, LAYERS) == expected


def test_what_is_written_and_reasoned_is_needed_once_a_prompt_and_way():
    steered = Condition((1,), "v", 1.0)
    early = Condition((1,), "v", 1.0, positions="all")
    asked = [([1, 2, 3], 0, None), ([1, 2, 3], 0, None), ([1, 2, 3], 0, steered)]
    made = [[4, 5, 6], [4, 6, 6], [4, 5]]
    # two tokens before the last, unsteered for all; (3 4 5, 6) and (3 4) behind them
    assert sampled(asked, made, 1) == 2 + (3 + 1) + 2
    assert sampled([*asked, ([1, 2, 3], 0, early)], [*made, [4]], 1) == 8 + 2 + 1
    written = [(0, (4, 5), 1.0), (0, (4, 6), 1.0), (1, (4, 5), 0.0)]
    answers = [(("a", 1.0), [7, 8]), (("a", 1.0), [7, 9]), (("b", 1.0), [7, 8])]
    # 1 2 before; 3 4 5 and 6 steered, 3 4 5 of another question; 7 8 and 9, 7 8
    assert reasoned([[1, 2, 3], [1, 2, 3]], written, answers, 1) == 2 + 4 + 3 + 3 + 2


@pytest.fixture(scope="module")
def job_note(model_folders, tmp_path_factory):
    """The note of a job that reads activations, in a study of its own."""
    folder = tmp_path_factory.mktemp("counts")
    model = folder / "results/models/tiny"
    shutil.copytree(model_folders["llama"], model)
    name_model(model)
    keys = ("id", "ids", "matching_ids", "other_ids")
    rows = [
        dict(zip(keys, (item.id, item.text, item.matching, item.other), strict=True))
        for item in ITEMS
    ]
    study = folder / "results/s"
    study.mkdir()
    write_jsonl(study / "prompts.jsonl", rows)
    note = {
        "input": {"model": str(model / "engine.json"), "prompts": [str(study / "prompts.jsonl")]},
        "output": {"activations": [str(study / "a.safetensors")]},
        "params": {"run": {"device": "cpu", "dtype": "float32"}, "contrasts": ["answers"]},
        "wildcards": {"behavior": "one"},
        "threads": 1,
        "log": str(study / "logs/activations/one.log"),
        "batch_tokens": 128,
    }
    path = folder / "note.json"
    path.write_text(json.dumps(note))
    return path, study


def run_job(note, monkeypatch):
    """The job in this process."""
    script = ROOT / "scripts/steering/activations.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(note)])
    # its process ends there
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: None)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert not end.value.code


def test_a_job_writes_what_it_counted_and_measures_the_limit_once(job_note, monkeypatch, caplog):
    note, study = job_note
    asked = []

    def spy(lm, batch_tokens):
        asked.append(batch_tokens)
        return measure(lm, batch_tokens)

    monkeypatch.setattr("steerpaper.engine.limit.measure", spy)
    found = []
    for _ in range(2):
        run_job(note, monkeypatch)
        found.append((study / "a.safetensors").read_bytes())
        counted = read_json(study / "benchmarks/activations/one.json")
        assert counted["tokens"] == 2 + (4 + 3) + 2 * (3 + 2)
        assert counted["limit_seconds"] > 0
    assert found[0] == found[1]
    assert asked == [128]
    (kept,) = (study.parent / "models/.speed").glob("*.json")
    assert read_json(kept)["blocks"] > 0
    assert "19 tokens in" in caplog.text
    assert "of the limit" in caplog.text
    # nothing that is recorded, and nothing in the model's folder
    assert not list((study / "records").rglob("*one*"))
    assert {path.name for path in (study / "records").iterdir()} == {"a.safetensors.json"}


def test_what_cannot_be_measured_fails_no_job(job_note, monkeypatch, caplog):
    note, study = job_note

    def broken(lm, batch_tokens):
        raise RuntimeError("no memory")

    shutil.rmtree(study.parent / "models/.speed", ignore_errors=True)
    monkeypatch.setattr("steerpaper.engine.limit.measure", broken)
    run_job(note, monkeypatch)
    assert "no memory" in caplog.text
    assert read_json(study / "benchmarks/activations/one.json")["limit_seconds"] is None


def test_a_tiny_model_is_measured_in_no_time(load_tiny):
    import time

    start = time.process_time()
    found = measure(load_tiny("llama"), 256)
    assert time.process_time() - start < 3
    assert found.blocks > 0
    assert found.logits > 0
