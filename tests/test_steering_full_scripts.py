"""The full study's scripts, on a tiny model: what one writes the next can read, in any batching."""

import importlib
import json
import shutil

import numpy as np
import pytest
from conftest import ROOT

from steerpaper.workflow.files import read_table, write_jsonl, write_tensors
from steerpaper.workflow.job import Job
from steerpaper.steering.items import read_items, split_items
from steerpaper.steering.prompts import as_rows, serialize

SPLIT = {"train": 12, "dev": 2, "test": 6}
STATISTICS = {"seed": 3, "resamples": 200, "confidence": 0.95}
DATA = ROOT / "data/behaviors"


@pytest.fixture(scope="module")
def study(tmp_path_factory, model_folders, load_tiny):
    """A folder with what the scripts read: model, prompts, activations, vectors, block."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(model_folders["llama"], folder / "model")
    (folder / "model/manifest.json").write_text(json.dumps({"name": "tiny", "revision": "0"}))
    lm, generator = load_tiny("llama"), np.random.default_rng(0)
    items = split_items(read_items(DATA / "optimism.jsonl"), SPLIT, 3, "optimism")["test"]
    options = {"behavior": "optimism", "split": "test", "system": None, "seed": 3}
    prompts = serialize(lm.tokenizer, items, contrast="answers", context=lm.context, **options)
    write_jsonl(folder / "prompts.jsonl", as_rows(prompts))
    shape = (lm.n_layers, lm.width)
    activations = {
        name: generator.normal(mean, 1, (12, *shape)).astype(np.float32)
        for name, mean in (("matching", 0.3), ("other", -0.3))
    }
    write_tensors(folder / "activations.safetensors", activations, {"n": 12})
    vector = (activations["matching"] - activations["other"]).mean(0)
    vectors = {"behavior": vector, "random-0": vector[::-1].copy()}
    write_tensors(folder / "vectors.safetensors", vectors, {})
    (folder / "block.json").write_text(json.dumps({"layer": 1, "layers": [1, 2]}))
    return folder


def run(study, script, inputs, outputs, params, budget=400):
    job = Job(
        input={"model": f"{study}/model/manifest.json"} | inputs,
        output={key: str(study / name) for key, name in outputs.items()},
        params={"device": "cpu", "dtype": "float32", "batch_tokens": budget, "seed": 3} | params,
        wildcards={"behavior": "optimism"},
        threads=1,
        log=str(study / "log"),
    )
    importlib.import_module(script).main(job)
    return next(iter(job.output.values()))


def summary(study, name, key, path):
    params = {"behaviors": ["optimism"], **STATISTICS}
    table = run(study, f"{name}_table", {key: [path]}, {"table": f"{name}.csv"}, params)
    return read_table(table)


@pytest.fixture
def common(study, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return {
        "raw": str(DATA / "optimism.jsonl"),
        "about": str(DATA / "optimism.yaml"),
        "vectors": str(study / "vectors.safetensors"),
        "block": str(study / "block.json"),
    }


PROMPTED = {"contrast": "answers", "split": SPLIT, "system": None, "positions": "response"}


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_reasoning_is_summarised_by_part_whatever_the_batching(study, common, contrast):
    params = {**PROMPTED, "contrast": contrast, "prompts": 3, "samples": 2, "multipliers": [-1, 1]}
    params |= {"max_new_tokens": 6, "temperature": 1.0, "top_p": 1.0}
    found = []
    for budget in (4000, 60):
        path = run(study, "reasoning", common, {"chains": f"cot{budget}.parquet"}, params, budget)
        found.append(read_table(path))
    assert (
        found[0]
        .drop(columns=["logprob_matching", "logprob_other", "logit_diff"])
        .equals(found[1].drop(columns=["logprob_matching", "logprob_other", "logit_diff"]))
    )
    np.testing.assert_allclose(found[0]["logit_diff"], found[1]["logit_diff"], atol=1e-3)
    table = summary(study, "reasoning", "chains", path)
    rows = {(row.reasoning, row.steered, row.multiplier) for row in table.itertuples()}
    parts = [("none", 0), *((p, m) for p in ("reasoning", "answer", "both") for m in (-1, 1))]
    assert rows == {("sampled", *p) for p in parts} | {
        ("without", *p) for p in (("none", 0), ("answer", -1), ("answer", 1))
    }
    assert set(table["layers"].dropna()) == {"1+2"}
    assert table.loc[table["reasoning"] == "sampled", "n"].eq(6).all()
    assert table["logit_diff"].notna().all()


def test_system_prompts_are_crossed_with_multipliers(study, common):
    params = {**PROMPTED, "prompts": 4, "multipliers": [-1, 1]}
    path = run(study, "system_prompts", common, {"scores": "system.parquet"}, params)
    table = summary(study, "system_prompts", "scores", path)
    assert len(table) == 9
    assert table["n"].eq(4).all()


def test_a_behaviour_without_system_prompts_has_rows_of_n_0(study, common):
    params = {**PROMPTED, "prompts": 4, "multipliers": [-1, 1]}
    inputs = common | {"about": []}
    path = run(study, "system_prompts", inputs, {"scores": "system0.parquet"}, params)
    table = summary(study, "system_prompts", "scores", path)
    missing = table[table["system_prompt"] != "none"]
    assert missing["n"].tolist() == [0, 0]
    assert missing["note"].str.contains("has no system_prompts").all()
    assert table.loc[table["system_prompt"] == "none", "n"].eq(4).all()


def test_cost_measures_text_and_both_ways_of_asking(study, common):
    inputs = common | {
        "neutral": str(ROOT / "data/neutral.jsonl"),
        "knowledge": str(ROOT / "data/knowledge.jsonl"),
    }
    params = {**PROMPTED, "contrasts": ["answers", "letters"], "texts": 3, "questions": 5}
    params |= {"multipliers": [-2, 2], "random": {"directions": 1, "multipliers": [2]}}
    path = run(study, "cost", inputs, {"scores": "cost.parquet"}, params)
    table = summary(study, "cost", "scores", path)
    # unsteered, two multipliers, one random direction
    assert table.groupby("contrast").size().to_dict() == {"answers": 4, "letters": 4, "text": 4}
    assert table[table["contrast"] == "text"]["n"].eq(3).all()
    assert table[table["measure"] == "accuracy"]["value"].between(0, 1).all()
    assert (table[table["measure"] == "perplexity"]["value"] > 1).all()


def test_convergence_of_all_contrasts_lies_in_one_table(study, common):
    inputs = {"activations": [str(study / "activations.safetensors")] * 2}
    params = {"contrasts": ["answers", "letters"], "sizes": [1, 6, 30], "draws": 5}
    params |= {"compare": {"vectors": 2, "items": 10}}
    path = run(study, "convergence", inputs, {"draws": "convergence.parquet"}, params)
    table = summary(study, "convergence", "draws", path)
    assert set(table["contrast"]) == {"answers", "letters"}
    # 30 items, and two vectors from 10, are more than the 12 there are
    assert set(table["items"]) == {1, 6}
    assert set(table["what"]) == {"curve"}


def test_projections_cover_every_token_of_both_answers(study, common):
    inputs = {
        "prompts": [str(study / "prompts.jsonl")],
        "activations": [str(study / "activations.safetensors")],
        "vectors": [common["vectors"]],
        "blocks": [common["block"]],
    }
    params = {"behaviors": ["optimism"], "texts": 2}
    table = read_table(run(study, "projection", inputs, {"table": "projection.csv"}, params))
    assert table.groupby(["prompt_id", "answer"]).ngroups == 4
    assert set(table["part"]) == {"template", "question", "answer"}
    assert table["projection"].notna().all()
    # tokens before the answer cannot know it
    wide = table[table["part"] != "answer"].groupby(["prompt_id", "token"])["projection"]
    assert np.ptp(wide.agg(list).tolist(), axis=1).max() < 1e-4
