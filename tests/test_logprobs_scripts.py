"""From activations to the figures of fixed completions, estimators, transfer, on a tiny model."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from steerpaper.workflow.files import read_table, read_tensors, write_jsonl, write_tensors
from steerpaper.workflow.job import Job
from steerpaper.steering.items import read_items
from steerpaper.steering.prompts import as_rows, serialize

CONTRASTS = ["answers", "letters"]
STATISTICS = {"seed": 3, "resamples": 200, "confidence": 0.95}
SAMPLING = {"samples": 8, "max_new_tokens": 6, "temperature": 1.0, "top_p": 0.9, "prompts": 3}
UNIT = {"estimator": "mean_difference", "normalise": False, "multiplier_unit": "vector"}


@pytest.fixture(scope="module")
def study(tmp_path_factory, model_folders, load_tiny):
    """A folder with what the scripts start from: model, prompts, activations, block."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(model_folders["llama"], folder / "model")
    (folder / "model/manifest.json").write_text(json.dumps({"name": "tiny", "revision": "0"}))
    lm, generator = load_tiny("llama"), np.random.default_rng(0)
    items = read_items(ROOT / "data/behaviors/optimism.jsonl")[:4]
    options = {"behavior": "optimism", "split": "test", "system": None, "seed": 3}
    for contrast in CONTRASTS:
        prompts = serialize(lm.tokenizer, items, contrast=contrast, context=lm.context, **options)
        write_jsonl(folder / f"{contrast}.jsonl", as_rows(prompts))
        activations = {
            name: generator.normal(mean, 1, (12, lm.n_layers, lm.width)).astype(np.float32)
            for name, mean in (("matching", 0.3), ("other", -0.3))
        }
        metadata = {"model": "tiny", "revision": "0", "behavior": "optimism", "n": 12}
        path = folder / f"{contrast}.activations.safetensors"
        write_tensors(path, activations, metadata | {"contrast": contrast})
    (folder / "block.json").write_text(json.dumps({"layer": 1, "layers": [1, 2]}))
    return folder


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")


def run(study, script, inputs, outputs, params, budget=400):
    job = Job(
        input={"model": f"{study}/model/manifest.json"} | inputs,
        output={key: str(study / name) for key, name in outputs.items()},
        params={"device": "cpu", "dtype": "float32", "batch_tokens": budget, "seed": 3} | params,
        wildcards={"behavior": "optimism", "contrast": "answers"},
        threads=1,
        log=str(study / "log"),
    )
    importlib.import_module(script).main(job)
    return next(iter(job.output.values()))


def make_vectors(study, contrast, **unit):
    inputs = {"activations": f"{study}/{contrast}.activations.safetensors"}
    raw = run(
        study,
        "vectors",
        inputs,
        {"vectors": f"{contrast}.raw.safetensors"},
        {"random_directions": 1},
    )
    return raw, run(
        study,
        "steering_vectors",
        inputs | {"vectors": raw, "all": [raw, raw]},
        {"vectors": f"{contrast}.steering.safetensors"},
        UNIT | unit,
    )


def sample(study, budget, about):
    inputs = {"prompts": [f"{study}/{contrast}.jsonl" for contrast in CONTRASTS], "about": about}
    outputs = {"completions": f"fixed.{budget}.parquet"}
    params = SAMPLING | {"contrasts": CONTRASTS}
    return run(study, "fixed_completions", inputs, outputs, params, budget)


def score(study, completions, budget):
    inputs = {
        "completions": completions,
        "prompts": [f"{study}/{contrast}.jsonl" for contrast in CONTRASTS],
        "vectors": [make_vectors(study, contrast)[1] for contrast in CONTRASTS],
        "blocks": [f"{study}/block.json"] * 2,
    }
    params = {
        "contrasts": CONTRASTS,
        "positions": "response",
        "layers": ["chosen", 3],
        "multipliers": [-1, 1],
        "random": {"directions": 1, "multipliers": [1]},
    }
    return run(study, "logprobs", inputs, {"logprobs": f"lp.{budget}.parquet"}, params, budget)


def draw(study, script, name, inputs):
    outputs = {kind: f"{name}.{kind}" for kind in ("pdf", "png", "csv")}
    run(study, script, inputs, outputs, {})
    assert all((study / path).stat().st_size for path in outputs.values())


def test_fixed_completions_do_not_depend_on_the_batch_and_are_summarised(study):
    about = str(ROOT / "data/behaviors/optimism.yaml")
    tables, files = [], []
    for budget in (50, 4000):
        files.append(sample(study, budget, about))
        tables.append(read_table(score(study, files[-1], budget)))
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()
    keys = ["contrast", "prompt_id", "completion_id", "direction", "layers", "multiplier"]
    one, two = (table.sort_values(keys, ignore_index=True) for table in tables)
    pd.testing.assert_frame_equal(one, two, atol=1e-3)
    completions = read_table(files[0])
    assert (completions.groupby(["contrast", "prompt_id"])["count"].sum() == 8).all()
    # unsteered, and 2 sets of blocks x (2 multipliers + 1 random)
    assert len(one) == 7 * len(completions)

    params = {"behaviors": ["optimism"], **STATISTICS}
    inputs = {"logprobs": [f"{study}/lp.4000.parquet"]}
    path = run(study, "logprobs_table", inputs, {"table": "logprobs.csv"}, params)
    table = read_table(path)
    assert set(table["layers"]) == {"1+2", "3"}
    of_labels = table[table["label"] != "difference"]
    keys = ["contrast", "direction", "layers", "multiplier"]
    assert (of_labels.groupby(keys)["n"].sum() == 24).all()
    draw(study, "plot_logprob_shift", "logprob_shift", {"table": path})


def test_a_behaviour_without_markers_has_rows_of_n_0_and_a_figure(study):
    completions = sample(study, 401, [])
    inputs = {"logprobs": [score(study, completions, 401)]}
    params = {"behaviors": ["optimism"], **STATISTICS}
    path = run(study, "logprobs_table", inputs, {"table": "logprobs0.csv"}, params)
    table = read_table(path)
    answers = table[(table["contrast"] == "answers") & (table["label"] != "neither")]
    assert (answers["n"] == 0).all()
    assert answers[["change", "low", "high"]].isna().all(axis=None)
    draw(study, "plot_logprob_shift", "logprob_shift0", {"table": path})


def test_the_steering_vector_is_the_chosen_estimators_in_the_chosen_unit(study):
    raw, plain = make_vectors(study, "answers")
    estimates, steering = read_tensors(raw)[0], read_tensors(plain)[0]
    assert set(steering) == {"behavior", "random-0"}
    np.testing.assert_allclose(steering["behavior"], estimates["mean_difference"], rtol=1e-5)
    np.testing.assert_allclose(steering["random-0"], estimates["random-0"], rtol=1e-5)
    probe = read_tensors(make_vectors(study, "answers", estimator="probe", normalise=True)[1])[0]
    np.testing.assert_allclose(probe["behavior"], estimates["probe"], rtol=1e-4)
    residual = read_tensors(make_vectors(study, "answers", multiplier_unit="residual")[1])[0]
    activations = read_tensors(study / "answers.activations.safetensors")[0]
    both = np.concatenate([activations["matching"], activations["other"]])
    expected = np.linalg.norm(both, axis=-1).mean(0)
    for vector in residual.values():
        np.testing.assert_allclose(np.linalg.norm(vector, axis=1), expected, rtol=1e-5)


def test_transfer_and_estimators_are_scored_summarised_and_drawn(study):
    raw, steering = make_vectors(study, "answers")
    inputs = {"prompts": f"{study}/answers.jsonl", "block": f"{study}/block.json"}
    params = {"positions": "response", "prompts": 4, "multipliers": [-1, 1]}
    scores = run(
        study,
        "transfer",
        inputs | {"vectors": steering},
        {"scores": "transfer.parquet"},
        params | {"layers": {"every": 3}, "norm": "target"},
    )
    block = {"blocks": [f"{study}/block.json"]}
    table = run(
        study, "transfer_table", block | {"scores": [scores]}, {"table": "tr.csv"}, STATISTICS
    )
    found = read_table(table)
    assert len(found) == 16
    assert set(found.loc[found["chosen"], "source"]) == {1, 2}
    draw(study, "plot_transfer", "transfer", {"table": table})

    scores = run(study, "estimators", inputs | {"vectors": raw}, {"scores": "est.parquet"}, params)
    table = run(
        study,
        "estimators_table",
        {"scores": [scores], "vectors": [raw]},
        {"table": "est.csv", "cosines": "cos.csv"},
        {"behaviors": ["optimism"], "contrasts": ["answers"], **STATISTICS},
    )
    found = read_table(table)
    assert found["estimator"].tolist() == ["mean_difference", "pca", "probe", "random-0"]
    assert set(found["layers"]) == {"1+2"}
    draw(study, "plot_estimators", "estimators", {"table": table, "cosines": f"{study}/cos.csv"})
