"""From activations to the figures of fixed completions, estimators, transfer, on a tiny model."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from tiny_models import name_model

from steerpaper.errors import UserError
from steerpaper.plots.fixed_completions import logprob_shift
from steerpaper.plots.style import save
from steerpaper.plots.transfer import estimators, transfer
from steerpaper.stats import Interval
from steerpaper.steering.about import as_json, read_about
from steerpaper.steering.conditions import AT_RESIDUAL_NORM, BEHAVIOR, UNSTEERED
from steerpaper.steering.items import read_items
from steerpaper.steering.labels import LABELS
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.tables.estimators import estimators_cosine
from steerpaper.steering.tables.fixed_completions import of_behavior
from steerpaper.steering.tables.rows import labelled
from steerpaper.steering.tables.transfer import estimators_table, transfer_table
from steerpaper.workflow.files import (
    read_json,
    read_jsonl,
    read_table,
    read_tensors,
    write_json,
    write_jsonl,
    write_table,
    write_tensors,
)
from steerpaper.workflow.job import Job

RUN = {"run": {"device": "cpu", "dtype": "float32"}}
CONTRASTS = ["answers", "letters"]
SIDES = ["matching", "other"]
BLOCKS = {contrast: {"layer": 1, "layers": [1, 2]} for contrast in CONTRASTS}
INTERVAL = {"interval": Interval(seed=3, resamples=200, confidence=0.95)}
OF_SCORES = INTERVAL | {"measures": ["logit_diff"]}
SAMPLING = {"samples": 8, "max_new_tokens": 6, "temperature": 1.0, "top_p": 0.9, "prompts": 3}
UNIT = {"estimator": "mean_difference", "normalize": False, "multiplier_unit": "vector"}


@pytest.fixture(scope="module")
def study(tmp_path_factory, model_folders, load_tiny):
    """A folder with what the scripts start from: model, prompts, activations, block."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(model_folders["llama"], folder / "model")
    name_model(folder / "model")
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
        # tokens are longer than their mean
        for side in SIDES:
            norms = 1.2 * np.linalg.norm(activations[side], axis=-1)
            activations[f"{side}_norms"] = norms.astype(np.float32)
        gradients = {
            split: generator.normal(size=(4, lm.n_layers, lm.width)) for split in ("dev", "test")
        }
        write_tensors(folder / f"{contrast}.gradients.safetensors", gradients, {})
        metadata = {"model": "tiny", "revision": "0", "behavior": "optimism", "n": 12}
        path = folder / f"{contrast}.activations.safetensors"
        write_tensors(path, activations, metadata | {"contrast": contrast})
    (folder / "block.json").write_text(json.dumps({"layer": 1, "layers": [1, 2]}))
    return folder


def run(study, script, inputs, outputs, params, budget=400):
    job = Job(
        input={"model": f"{study}/model/engine.json"} | inputs,
        output={
            key: [str(study / one) for one in name] if isinstance(name, list) else str(study / name)
            for key, name in outputs.items()
        },
        params=params,
        wildcards={"behavior": "optimism", "contrast": "answers"},
        threads=1,
        log=str(study / "log"),
        batch_tokens=budget,
    )
    importlib.import_module(f"steering.{script}").main(job)
    return next(iter(job.output.values()))


def make_vectors(study, contrast, **unit):
    inputs = {"activations": [f"{study}/{contrast}.activations.safetensors"]}
    (raw,) = run(
        study,
        "vectors",
        inputs,
        {"vectors": [f"{contrast}.raw.safetensors"]},
        {"controls": 1, "seed": 3},
    )
    (steering,) = run(
        study,
        "steering_vectors",
        inputs | {"vectors": [raw], "all": [raw, raw]},
        {"vectors": [f"{contrast}.steering.safetensors"]},
        UNIT | unit,
    )
    return raw, steering


def sample(study, budget, about):
    write_json(study / "about.json", as_json(about))
    inputs = {"prompts": [f"{study}/{contrast}.jsonl" for contrast in CONTRASTS]}
    inputs["about"] = f"{study}/about.json"
    outputs = {"completions": f"fixed.{budget}.parquet"}
    params = RUN | SAMPLING | {"seed": 3}
    return run(study, "fixed_completions", inputs, outputs, params, budget)


def score(study, completions, budget, positions="response"):
    inputs = {
        "completions": completions,
        "prompts": [f"{study}/{contrast}.jsonl" for contrast in CONTRASTS],
        "vectors": [make_vectors(study, contrast)[1] for contrast in CONTRASTS],
        "blocks": [f"{study}/block.json"] * 2,
    }
    params = RUN | {
        "contrasts": CONTRASTS,
        "positions": positions,
        "layers": ["chosen", 3],
        "multipliers": [-1, 1],
        "random": {"directions": 1, "multipliers": [1]},
    }
    made = {"logprobs": f"lp.{positions}.{budget}.parquet"}
    return run(study, "logprobs", inputs, made, params, budget)


def draw(study, figure, name, *tables):
    """Draw a figure from a behaviour's tables, as they are once they were written to files."""
    kept = []
    for number, table in enumerate(tables):
        path = study / f"{name}.{number}.csv"
        write_table(path, table)
        kept.append(read_table(path))
    outputs = {kind: study / f"{name}.{kind}" for kind in ("pdf", "png", "csv")}
    save(figure(*kept), outputs, kept[0])
    assert all(path.stat().st_size for path in outputs.values())


def test_of_fixed_completions_a_prefilled_bracket_is_steered_with_the_turn(study):
    completions = sample(study, 4000, read_about(ROOT / "data/behaviors/optimism.yaml"))
    response, turn = (
        read_table(score(study, completions, 4000, positions)) for positions in ("response", "turn")
    )
    apart = (response["change"] - turn["change"]).abs()
    # after the last block, and without a bracket, the steered tokens are the same
    alike = (response["form"] == "free") | response["layers"].isin(["", "3"])
    assert (apart[~alike] > 1e-3).mean() > 0.9
    assert apart[alike].max() < 1e-4


def test_fixed_completions_are_the_same_to_the_bit_for_any_budget_and_are_summarised(study):
    about = read_about(ROOT / "data/behaviors/optimism.yaml")
    tables, files = [], []
    for budget in (50, 4000):
        files.append(sample(study, budget, about))
        tables.append(read_table(score(study, files[-1], budget)))
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()
    keys = ["contrast", "form", "prompt_id", "completion_id"]
    keys += ["direction", "layers", "multiplier"]
    one, two = (table.sort_values(keys, ignore_index=True) for table in tables)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    completions = read_table(files[0])
    keys = ["contrast", "form", "prompt_id"]
    assert (completions.groupby(keys)["count"].sum() == 8).all()
    asked = completions[["contrast", "form"]].drop_duplicates().to_numpy().tolist()
    assert asked == [["answers", "free"], ["letters", "prefilled"], ["letters", "free"]]
    # unsteered, and 2 sets of blocks x (2 multipliers + 1 random)
    assert len(one) == 7 * len(completions)

    table = of_behavior([tables[1]], BLOCKS, **INTERVAL)
    assert set(table["layers"]) == {"1+2", "3"}
    own = table[table["direction"] == BEHAVIOR]
    of_labels = own[own["label"].isin(LABELS)]
    keys = ["contrast", "form", "layers", "multiplier"]
    # three prompts of answers, and a balanced two of letters
    counted = of_labels.groupby(keys)["n"].sum()
    assert set(counted) <= {16, 24}
    of_letters = own[own["label"].isin(["A", "B"])]
    assert set(of_letters["contrast"]) == {"letters"}
    draw(study, logprob_shift, "logprob_shift", labelled(table, behavior="optimism"))


def test_a_behaviour_without_markers_has_rows_of_n_0_and_a_figure(study):
    completions = sample(study, 401, read_about(None))
    table = of_behavior([read_table(score(study, completions, 401))], BLOCKS, **INTERVAL)
    answers = table[(table["contrast"] == "answers") & (table["label"] != "neither")]
    assert (answers["n"] == 0).all()
    assert answers[["change", "low", "high"]].isna().all(axis=None)
    draw(study, logprob_shift, "logprob_shift0", labelled(table, behavior="optimism"))


def test_the_steering_vector_is_the_chosen_estimators_in_the_chosen_unit(study):
    raw, plain = make_vectors(study, "answers")
    estimates, steering = read_tensors(raw)[0], read_tensors(plain)[0]
    controls = {"random-0", "shuffled-0"}
    names = {"mean_difference", "pca", "probe"}
    assert set(steering) == {BEHAVIOR, AT_RESIDUAL_NORM, *controls, *names}
    np.testing.assert_allclose(steering["behavior"], estimates["mean_difference"], rtol=1e-5)
    for control in ("random-0", "shuffled-0"):
        np.testing.assert_allclose(steering[control], estimates[control], rtol=1e-5)
    probe = read_tensors(make_vectors(study, "answers", estimator="probe", normalize=True)[1])[0]
    np.testing.assert_allclose(probe["behavior"], estimates["probe"], rtol=1e-4)
    residual = read_tensors(make_vectors(study, "answers", multiplier_unit="residual")[1])[0]
    activations = read_tensors(study / "answers.activations.safetensors")[0]
    expected = np.concatenate([activations[f"{side}_norms"] for side in SIDES]).mean(0)
    of_means = np.concatenate([np.linalg.norm(activations[side], axis=-1) for side in SIDES])
    assert (expected > 1.05 * of_means.mean(0)).all()
    for vector in residual.values():
        np.testing.assert_allclose(np.linalg.norm(vector, axis=1), expected, rtol=1e-5)


def test_transfer_and_estimators_are_scored_summarised_and_drawn(study):
    raw, steering = make_vectors(study, "answers")
    inputs = {"prompts": f"{study}/answers.jsonl", "block": f"{study}/block.json"}
    inputs |= {name: f"{study}/answers.{name}.safetensors" for name in ("gradients", "activations")}
    params = RUN | {"positions": "response", "prompts": 4, "multipliers": [-1, 1]}
    scores = run(
        study,
        "transfer",
        inputs | {"vectors": steering},
        {"scores": "transfer.parquet"},
        params | {"layers": {"every": 3}, "norm": "target"},
    )
    labels = {"behavior": "optimism", "contrast": "answers"}
    found = transfer_table(read_table(scores), read_json(study / "block.json"), **OF_SCORES)
    assert len(found) == 16
    assert set(found.loc[found["chosen"], "source"]) == {"1", "2"}
    draw(study, transfer, "transfer", labelled(found, **labels))

    names = ["mean_difference", "pca", "probe"]
    files = [
        run(
            study,
            "estimators",
            inputs | {"vectors": steering},
            {"scores": f"est.{budget}.parquet"},
            params | {"estimators": names, "layers": [0, 3]},
            budget,
        )
        for budget in (1, 400)
    ]
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()
    found = estimators_table(read_table(files[0]), read_json(study / "block.json"), **OF_SCORES)
    assert found.groupby("at", sort=False)["estimator"].agg(list).to_dict() == {
        "own": names,
        "chosen": names,
    }
    assert set(found.loc[found["at"] == "chosen", "layers"]) == {"1+2"}
    assert set(found.loc[found["at"] == "own", "layers"]) <= {"0", "3"}
    assert (found["control_low"] < found["control_high"]).all()
    cosines = estimators_cosine(read_tensors(raw)[0])
    assert cosines["estimator"].unique().tolist() == ["pca", "probe"]
    assert (cosines["cosine"] > 0.5).all()
    drawn = [labelled(table, **labels) for table in (found, cosines)]
    draw(study, estimators, "estimators", *drawn)


def scored(study, script, name, outputs, params, budget, **wildcards):
    """Run a script that scores prompts under steering; every output's bytes."""
    vectors = [make_vectors(study, contrast)[1] for contrast in CONTRASTS]
    job = Job(
        input={
            "model": f"{study}/model/engine.json",
            "prompts": [f"{study}/{contrast}.jsonl" for contrast in CONTRASTS],
            "vectors": vectors,
            "blocks": [f"{study}/block.json"] * 2,
            "dev": [str(study / f"dev.{contrast}.parquet") for contrast in CONTRASTS],
        },
        output={name: [str(study / output) for output in outputs]},
        params=RUN | params,
        wildcards=wildcards,
        threads=1,
        log=str(study / "log"),
        batch_tokens=budget,
    )
    importlib.import_module(f"steering.{script}").main(job)
    return [Path(path).read_bytes() for path in job.output[name]]


def test_a_sweep_is_the_same_to_the_byte_for_any_budget_and_its_shards_join_to_the_whole(study):
    params = {"multipliers": [-1, 1], "positions": "response", "layers": "all"}

    def sweep(shards, budget):
        for shard in range(shards):
            files = [f"sweep.{contrast}.{shard}.parquet" for contrast in CONTRASTS]
            number = {"shard": str(shard), "shards": str(shards)}
            scored(study, "sweep", "scores", files, params, budget, **number)
        files = [
            str(study / f"sweep.{contrast}.{n}.parquet")
            for contrast in CONTRASTS
            for n in range(shards)
        ]
        # the items stand in for those of dev
        for file in files:
            write_table(file, read_table(file).assign(split="dev"))
        outputs = {
            "scores": [f"dev.{contrast}.parquet" for contrast in CONTRASTS],
            "block": [f"chosen.{contrast}.json" for contrast in CONTRASTS],
        }
        steering = [make_vectors(study, contrast)[1] for contrast in CONTRASTS]
        inputs = {"shards": files, "vectors": steering}
        options = {"contrasts": [*CONTRASTS], "layer": 2, "seed": 1}
        joined = run(study, "best_block", inputs, outputs, options)
        return [Path(file).read_bytes() for file in joined]

    whole = sweep(1, 4000)
    assert sweep(1, 1) == whole
    assert sweep(3, 300) == whole
    for contrast in CONTRASTS:
        chosen = read_json(study / f"chosen.{contrast}.json")
        assert (chosen["layers"], chosen["contrast"]) == ([2], contrast)
    # the tables of the chosen block begin with those of dev
    files = [f"dose.{contrast}.parquet" for contrast in CONTRASTS]
    one = {"directions": 1, "multipliers": [1]}
    params |= {"at_residual_norm": [0.5], "random": one, "shuffled": one}
    del params["layers"]
    doses = [scored(study, "dose_response", "scores", files, params, b) for b in (1, 4000)]
    assert doses[0] == doses[1]
    for contrast in CONTRASTS:
        dose = read_table(study / f"dose.{contrast}.parquet")
        dev = read_table(study / f"dev.{contrast}.parquet")
        pd.testing.assert_frame_equal(dose.iloc[: len(dev)], dev)
        assert set(dose.iloc[len(dev) :]["layers"]) == {"", "1+2"}
        directions = {UNSTEERED, BEHAVIOR, AT_RESIDUAL_NORM, "random-0", "shuffled-0"}
        assert set(dose["direction"]) == directions


def test_scores_that_run_over_are_refused_by_every_script_and_nothing_is_written(study):
    _, steering = make_vectors(study, "answers")
    one = {"prompts": f"{study}/answers.jsonl", "block": f"{study}/block.json"}
    one |= {name: f"{study}/answers.{name}.safetensors" for name in ("gradients", "activations")}
    # more than a float32 holds
    params = {"positions": "response", "multipliers": [1e39], "random": {"directions": 0}}
    transferred = RUN | params | {"prompts": 2, "layers": {"every": 3}, "norm": "target"}
    compared = RUN | params | {"prompts": 2, "estimators": ["pca"], "layers": [3]}
    scripts = {
        "transfer": lambda name: run(
            study, "transfer", one | {"vectors": steering}, {"scores": name}, transferred
        ),
        "estimators": lambda name: run(
            study, "estimators", one | {"vectors": steering}, {"scores": name}, compared
        ),
        "sweep": lambda name: scored(
            study,
            "sweep",
            "scores",
            [name, f"{name}2"],
            params | {"layers": [1]},
            400,
            shard="0",
            shards="1",
        ),
    }
    prompt = read_jsonl(f"{study}/answers.jsonl")[0]
    said_once = {"behavior": "optimism", "contrast": "answers", "prompt_id": prompt["id"]}
    said_once |= {"form": "free", "side": None}
    said_once |= {"completion_id": 0, "label": "neither", "count": 1, "ids": [5, 6]}
    write_table(study / "said.parquet", pd.DataFrame([said_once]))
    fixed = {"completions": f"{study}/said.parquet", "prompts": [one["prompts"]]}
    fixed |= {"vectors": [steering], "blocks": [one["block"]]}
    wanted = RUN | params | {"contrasts": ["answers"], "layers": ["chosen"]}
    with pytest.raises(UserError, match=r"scoring \(.*multiplier 1e\+39\): after block"):
        run(study, "logprobs", fixed, {"logprobs": "logprobs.over.parquet"}, wanted)
    for script, score_all in scripts.items():
        name = f"{script}.over.parquet"
        with pytest.raises(UserError, match=r"scoring \(.*multiplier 1e\+39\): after block"):
            score_all(name)
    assert not list(study.glob("*over*"))
