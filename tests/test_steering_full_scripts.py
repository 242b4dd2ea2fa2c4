"""The full study's scripts, on a tiny model: what one writes the next can read, in any batching."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from tiny_models import name_model

from steerpaper.errors import UserError
from steerpaper.stats import Interval
from steerpaper.steering.tables.convergence import convergence_table
from steerpaper.steering.tables.cost import cost_table
from steerpaper.steering.tables.reasoning import reasoning_table
from steerpaper.steering.tables.system_prompts import system_prompts_table
from steerpaper.workflow.files import read_json, read_jsonl, read_table, write_jsonl, write_tensors
from steerpaper.workflow.job import Job

RUN = {"run": {"device": "cpu", "dtype": "float32"}}
CONTRASTS = ["answers", "letters"]
BLOCK = {"layer": 1, "layers": [1, 2]}
SPLIT = {"train": 12, "dev": 2, "test": 6}
INTERVAL = {"interval": Interval(seed=3, resamples=200, confidence=0.95)}
OF_SCORES = INTERVAL | {"measures": ["logit_diff"]}
DATA = ROOT / "data/behaviors"
RENDERED = {"seed": 3, "date": "2024-07-26"}


@pytest.fixture(scope="module")
def study(tmp_path_factory, model_folders, load_tiny):
    """A folder with what the scripts read: model, prompts, activations, vectors, block."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(model_folders["llama"], folder / "model")
    name_model(folder / "model")
    lm, generator = load_tiny("llama"), np.random.default_rng(0)
    shape = (lm.n_layers, lm.width)
    activations = {
        name: generator.normal(mean, 1, (12, *shape)).astype(np.float32)
        for name, mean in (("matching", 0.3), ("other", -0.3))
    }
    write_tensors(folder / "activations.safetensors", activations, {"n": 12})
    vector = (activations["matching"] - activations["other"]).mean(0)
    vectors = {"behavior": vector, "random-0": vector[::-1].copy()}
    write_tensors(folder / "vectors.safetensors", vectors, {})
    (folder / "block.json").write_text(json.dumps(BLOCK))
    return folder


def run(study, script, inputs, outputs, params, budget=400):
    """Run a rule's script; its outputs by name, `outputs` being names in the study's folder."""
    names = {
        key: [str(study / one) for one in name] if isinstance(name, list) else str(study / name)
        for key, name in outputs.items()
    }
    job = Job(
        input={"model": f"{study}/model/engine.json"} | inputs,
        output=names,
        params=params,
        wildcards={"behavior": "optimism"},
        threads=1,
        log=str(study / "log"),
        batch_tokens=budget,
    )
    importlib.import_module(f"steering.{script}").main(job)
    return names


def make_prompts(study, name, contrasts=("answers",), about=DATA / "optimism.yaml"):
    """The prompt files of a behaviour, in a folder of their own."""
    (study / name).mkdir(exist_ok=True)
    outputs = {key: f"{name}/{key}.jsonl" for key in ("open", "reasoning", "system_prompts")}
    files = [f"{name}/{c}.{split}.jsonl" for c in contrasts for split in SPLIT]
    outputs |= {"prompts": files, "csv": [], "about": f"{name}/about.json"}
    inputs = {"raw": str(DATA / "optimism.jsonl"), "about": str(about) if about else []}
    params = {"contrasts": list(contrasts), "split": SPLIT, "system": None, **RENDERED}
    params |= {"balance": False, "letters": "dealt"}
    return run(study, "prompts", inputs, outputs, params | {"bad_items": "stop"})


@pytest.fixture(scope="module")
def prompts(study):
    """The prompt files of a behaviour, both contrasts."""
    return make_prompts(study, "prompts", CONTRASTS)


@pytest.fixture
def common(study):
    return {
        "vectors": str(study / "vectors.safetensors"),
        "block": str(study / "block.json"),
    }


def test_all_that_the_model_is_shown_is_serialized_at_once(study, prompts, load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    sizes = [len(read_jsonl(path)) for path in prompts["prompts"]]
    assert sizes == 2 * list(SPLIT.values())
    assert len(read_jsonl(prompts["reasoning"])) == SPLIT["test"]
    assert len(read_jsonl(prompts["system_prompts"])) == 3 * SPLIT["test"]
    assert read_json(prompts["about"])["markers"]
    texts = [*prompts["prompts"], *(prompts[key] for key in ("open", "reasoning"))]
    for path in [*texts, prompts["system_prompts"]]:
        for row in read_jsonl(path):
            assert row["ids"] == tokenizer(row["text"], add_special_tokens=False)["input_ids"]
    # what is asked of the test items is asked of the same items everywhere
    test = read_jsonl(prompts["prompts"][2])
    for path in (prompts["reasoning"], prompts["system_prompts"]):
        assert [row["id"] for row in read_jsonl(path)][:6] == [row["id"] for row in test]


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_reasoning_is_the_same_to_the_byte_for_any_budget_and_is_summarised_by_part(
    study, common, contrast
):
    params = {"prompts": 3, "samples": 2, "multipliers": [-1, 1], "seed": 3}
    params |= {"max_new_tokens": 6, "temperature": 1.0, "top_p": 1.0}
    inputs = common | {"prompts": make_prompts(study, f"cot.{contrast}", [contrast])["reasoning"]}
    files = []
    for budget in (4000, 60, 1):
        outputs = {"chains": f"cot{budget}.parquet"}
        files.append(run(study, "reasoning", inputs, outputs, RUN | params, budget)["chains"])
    first, *others = (Path(file).read_bytes() for file in files)
    assert all(other == first for other in others)
    table = reasoning_table(read_table(files[0]), BLOCK, **OF_SCORES)
    rows = {(row.reasoning, row.steered, row.multiplier) for row in table.itertuples()}
    parts = [("none", 0), *((p, m) for p in ("reasoning", "answer", "both") for m in (-1, 1))]
    assert rows == {("sampled", *p) for p in parts} | {
        ("without", *p) for p in (("none", 0), ("answer", -1), ("answer", 1))
    }
    assert set(table["layers"]) == {"", "1+2"}
    assert table.loc[table["reasoning"] == "sampled", "n"].eq(6).all()
    assert table["logit_diff"].notna().all()


def system_prompts(study, inputs, name):
    params = {**RUN, "positions": "response", "prompts": 4, "multipliers": [-1, 1]}
    path = run(study, "system_prompts", inputs, {"scores": name}, params)["scores"]
    return system_prompts_table(read_table(path), BLOCK, **OF_SCORES)


def test_system_prompts_are_crossed_with_multipliers(study, common, prompts):
    inputs = common | {"prompts": prompts["system_prompts"]}
    table = system_prompts(study, inputs, "system.parquet")
    assert len(table) == 9
    assert table["n"].eq(4).all()


def test_a_behaviour_without_system_prompts_has_rows_of_n_0(study, common):
    without = make_prompts(study, "without", about=None)
    inputs = common | {"prompts": without["system_prompts"]}
    table = system_prompts(study, inputs, "system0.parquet")
    missing = table[table["system_prompt"] != "none"]
    assert missing["n"].tolist() == [0, 0]
    assert missing["note"].str.contains("has no system_prompts").all()
    assert table.loc[table["system_prompt"] == "none", "n"].eq(4).all()


def test_cost_measures_text_and_both_ways_of_asking(study, common):
    raw = {key: str(ROOT / f"data/{key}.jsonl") for key in ("neutral", "knowledge")}
    outputs = {"neutral": "neutral.jsonl"}
    outputs["knowledge"] = [f"knowledge.{contrast}.jsonl" for contrast in CONTRASTS]
    params = {"texts": 3, "questions": 5, "contrasts": CONTRASTS, "system": None, **RENDERED}
    inputs = common | run(study, "cost_prompts", raw, outputs, params)
    params = {"multipliers": [-2, 2], "random": {"directions": 1, "multipliers": [2]}}
    params |= {**RUN, "positions": "last"}
    files = [
        run(study, "cost", inputs, {"scores": f"cost{budget}.parquet"}, params, budget)["scores"]
        for budget in (1, 400)
    ]
    assert Path(files[0]).read_bytes() == Path(files[1]).read_bytes()
    table = cost_table(read_table(files[0]), BLOCK, **INTERVAL)
    # unsteered, two multipliers, one random direction
    assert table.groupby("contrast").size().to_dict() == {"answers": 4, "letters": 4, "text": 4}
    assert table[table["contrast"] == "text"]["n"].eq(3).all()
    assert table[table["measure"] == "accuracy"]["value"].between(0, 1).all()
    assert (table[table["measure"] == "perplexity"]["value"] > 1).all()


# more than a float32 holds
TOO_MUCH = {"multipliers": [1e39]}


def test_numbers_that_run_over_are_refused_by_every_script_and_nothing_is_written(
    study, common, prompts
):
    rows = {"prompts": prompts["system_prompts"]}
    params = {**RUN, "positions": "response", "prompts": 2, **TOO_MUCH}
    told = r"scoring \(.*multiplier 1e\+39\): after block"
    with pytest.raises(UserError, match=told):
        run(study, "system_prompts", common | rows, {"scores": "system.over.parquet"}, params)
    params = {**RUN, **TOO_MUCH, "random": {"directions": 0}, "positions": "last"}
    text = {"id": "a", "text": "a b", "ids": [1, 2, 3]}
    write_jsonl(study / "text.jsonl", [text])
    inputs = common | {"neutral": str(study / "text.jsonl"), "knowledge": [prompts["prompts"][2]]}
    told = r"(cost\.over\.parquet: logprob is nan|scoring) \(.*multiplier 1e\+39"
    with pytest.raises(UserError, match=told):
        run(study, "cost", inputs, {"scores": "cost.over.parquet"}, params)
    params = {**RUN, **TOO_MUCH, "prompts": 1, "samples": 1, "seed": 3, "max_new_tokens": 2}
    params |= {"temperature": 1.0, "top_p": 1.0}
    inputs = common | {"prompts": prompts["reasoning"]}
    with pytest.raises(UserError, match=r"sampling \(.*block 1\+2, multiplier 1e\+39\)"):
        run(study, "reasoning", inputs, {"chains": "cot.over.parquet"}, params)
    assert not list(study.glob("*over*"))


def test_convergence_of_all_contrasts_lies_in_one_table(study):
    inputs = {"activations": [str(study / "activations.safetensors")] * 2, "prompts": []}
    for contrast, sides in {"answers": [None] * 12, "letters": ["A", "B"] * 6}.items():
        inputs["prompts"].append(str(study / f"{contrast}.train.jsonl"))
        write_jsonl(inputs["prompts"][-1], [{"side": side} for side in sides])
    params = {"contrasts": CONTRASTS, "sizes": [1, 6, 30], "draws": 5}
    params |= {"compare": {"vectors": 2, "items": 10}, "seed": 3}
    path = run(study, "convergence", inputs, {"draws": "convergence.parquet"}, params)["draws"]
    table = convergence_table(read_table(path), **INTERVAL)
    assert set(table["contrast"]) == {"answers", "letters"}
    # 30 items, and two vectors from 10, are more than the 12 there are
    assert set(table["items"]) == {1, 6}
    assert set(table["what"]) == {"curve"}


def test_projections_cover_every_token_of_both_answers(study, common, prompts):
    inputs = {
        "prompts": [prompts["prompts"][2]],
        "activations": [str(study / "activations.safetensors")],
        "vectors": [common["vectors"]],
        "blocks": [common["block"]],
    }
    params = {**RUN, "behaviors": ["optimism"], "texts": 2}
    files = [
        run(study, "projection", inputs, {"table": f"projection{budget}.csv"}, params, budget)
        for budget in (1, 400)
    ]
    one, other = (Path(file["table"]).read_bytes() for file in files)
    assert one == other
    table = read_table(files[0]["table"])
    assert table.groupby(["prompt_id", "answer"]).ngroups == 4
    assert set(table["part"]) == {"template", "question", "answer"}
    assert table["projection"].notna().all()
    # tokens before the answer cannot know it
    wide = table[table["part"] != "answer"].groupby(["prompt_id", "token"])["projection"]
    assert np.ptp(wide.agg(list).tolist(), axis=1).max() < 1e-4
