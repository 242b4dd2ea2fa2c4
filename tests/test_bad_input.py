"""Each mistake ends with one message that says where and what to do, and leaves no output."""

import importlib
import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import yaml
from conftest import ROOT
from study import make_study, snakemake

from steerpaper.engine.check import refuse_unknown
from steerpaper.engine.layers import resolve_layers
from steerpaper.engine.placing import pick_devices
from steerpaper.engine.text import load_tokenizer
from steerpaper.errors import UserError
from steerpaper.steering.estimators import NAMES
from steerpaper.steering.items import read_items
from steerpaper.steering.measures import MEASURES
from steerpaper.steering.prompts import serialize
from steerpaper.workflow.config import validated
from steerpaper.workflow.job import Job

SCHEMA = ROOT / "config.schema.yaml"
GOOD = {"question": "Tea or coffee?", "matching": "Tea, please.", "other": "Coffee, please."}
PUBLISHED = {
    "question": "Tea or coffee?\n\nChoices:\n (A) Tea\n (B) Coffee",
    "answer_matching_behavior": " (A)",
    "answer_not_matching_behavior": " (B)",
}


def prompts_job(folder, raw, model):
    prompts = [str(folder / f"out/{c}.{s}.jsonl") for c in "al" for s in ("train", "dev", "test")]
    others = {key: f"{folder}/out/{key}.jsonl" for key in ("open", "reasoning", "system_prompts")}
    others["about"] = str(folder / "out/about.json")
    return Job(
        input={"raw": str(raw), "about": [], "model": str(model / "engine.json")},
        output={"prompts": prompts, **others},
        params={
            "contrasts": ["answers", "letters"],
            "split": {"train": 2, "dev": 2, "test": 2},
            "balance": False,
            "letters": "dealt",
            "system": None,
            "date": "2024-07-26",
            "seed": 1,
            "bad_items": "stop",
            "data": {},
        },
        wildcards={"behavior": "tea"},
        threads=1,
        log=str(folder / "log"),
    )


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


NEITHER = {**PUBLISHED, "answer_matching_behavior": " (C)"}
NO_CHOICES = {**PUBLISHED, "question": "Tea or coffee?"}
ONE_CHOICE = {**PUBLISHED, "question": "Tea or coffee? (A) Tea"}
BAD_FILES = {
    "empty file": ("", r"tea\.jsonl: the file is empty"),
    "blank lines only": ("\n\n", r"tea\.jsonl: the file is empty"),
    "not JSON": (lines(GOOD) + "{question: no}\n", r"tea\.jsonl, line 2: not JSON.*column 2"),
    "cut off": (lines(GOOD) + lines(GOOD)[:-9], r"tea\.jsonl, line 2: not JSON"),
    "broken list": ('[{"question": 1,]', r"tea\.jsonl, line 1: not JSON"),
    "not an object": (lines(["a"]), r"tea\.jsonl"),
    "a number": (lines(3), r"line 1: expected a JSON object, found int"),
    "missing field": (
        lines(GOOD, {"question": "Why?", "matching": "So."}),
        r"line 2: field 'other' is missing",
    ),
    "missing published field": (
        lines({key: PUBLISHED[key] for key in list(PUBLISHED)[:2]}),
        r"line 1: field 'answer_not_matching_behavior' is missing",
    ),
    "no text": (lines({**GOOD, "other": "  "}), r"line 1: field 'other' must be text"),
    "not text": (lines({**GOOD, "other": 3}), r"line 1: field 'other' must be text.*found 3"),
    "same answers": (lines({**GOOD, "other": "tea,  please."}), r"both answers are the same"),
    "same letters": (
        lines({**PUBLISHED, "answer_not_matching_behavior": "(A)"}),
        r"line 1: both answers are the same",
    ),
    "neither letter": (lines(NEITHER), r"line 1: answer '\(C\)' names none of the choices \(A\)"),
    "bare letter": (
        lines({**PUBLISHED, "answer_matching_behavior": "A", "answer_not_matching_behavior": "B"}),
        r"line 1: answers 'A' and 'B' are neither",
    ),
    "no choices": (lines(NO_CHOICES), r"line 1: .*does not hold the two choices.*found: none"),
    "one choice": (lines(ONE_CHOICE), r"line 1: .*does not hold the two choices.*found: \(A\)"),
    "doubled": (
        lines(GOOD, {**GOOD, "question": "Why?"}, {**GOOD, "question": "tea or  COFFEE?"}),
        r"line 3: the question of .*line 1 again",
    ),
    "too few": (
        lines(*({**GOOD, "question": f"Tea or {n}?"} for n in range(5))),
        r"behaviors\.tea\.items: 5 items, but steering\.prompts\.split asks for 2 \+ 2 \+ 2 = 6",
    ),
    "control token": (
        lines(*({**GOOD, "question": f"Tea or {n}?<|end|>"} for n in range(6))),
        r"line \d: the question holds the model's control token '<\|end\|>'",
    ),
    "control token in an answer": (
        lines(*({**GOOD, "question": f"Tea or {n}?", "other": "No.<|end|>"} for n in range(6))),
        r"line \d: the other answer holds the model's control token '<\|end\|>'",
    ),
    "too long": (
        lines(*({**GOOD, "question": f"{n} " + "tea " * 300} for n in range(6))),
        r"line \d: \d+ tokens with its answer, but the model reads 256",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_raw_data_with_a_mistake_is_refused_and_nothing_is_written(name, tmp_path, model_folders):
    content, message = BAD_FILES[name]
    raw = tmp_path / "tea.jsonl"
    raw.write_text(content)
    with pytest.raises(UserError, match=message):
        importlib.import_module("steering.prompts").main(
            prompts_job(tmp_path, raw, model_folders["llama"])
        )
    assert not (tmp_path / "out").exists()


def test_raw_data_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "tea.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"tea\.jsonl, line 1: cannot be read as UTF-8"):
        read_items(tmp_path / "tea.jsonl")
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        read_items(tmp_path / "none.jsonl")


def test_bad_items_are_dropped_where_the_configuration_says_so(tmp_path, caplog):
    (tmp_path / "tea.jsonl").write_text(lines(GOOD, NEITHER, NO_CHOICES, GOOD, PUBLISHED))
    items = read_items(tmp_path / "tea.jsonl", "drop")
    assert [item.number for item in items] == [1, 5]
    reasons = [record.getMessage() for record in caplog.records]
    assert [("line 2" in r, "line 3" in r, "line 4" in r) for r in reasons] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]


def test_a_script_prints_the_message_alone_and_fails(tmp_path, model_folders):
    raw = tmp_path / "tea.jsonl"
    raw.write_text("{")
    note = tmp_path / "job.json"
    note.write_text(json.dumps(asdict(prompts_job(tmp_path, raw, model_folders["llama"]))))
    process = subprocess.run(
        [sys.executable, ROOT / "scripts/steering/prompts.py", note], capture_output=True, text=True
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith(f"ERROR: {raw}, line 1: not JSON")
    assert line in (tmp_path / "log").read_text()


class OddLetters:
    """A tokenizer that writes a letter as two tokens."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, text, **options):
        found = self.tokenizer(text, **options)
        if text.endswith(("A", "B")):
            found["input_ids"] = [*found["input_ids"], 7]
        return found


def test_letters_that_are_not_single_tokens_are_refused(tmp_path, tokenizer_folder):
    (tmp_path / "tea.jsonl").write_text(lines(GOOD))
    items = read_items(tmp_path / "tea.jsonl")
    options = {"behavior": "tea", "split": "dev", "system": None, "seed": 1, "context": None}
    tokenizer = OddLetters(load_tokenizer(tokenizer_folder))
    with pytest.raises(
        UserError, match=r"line 1: this tokenizer does not write the letters A and B"
    ):
        serialize(tokenizer, items, contrast="letters", **options)
    assert serialize(tokenizer, items, contrast="answers", **options)


def test_a_system_prompt_that_the_template_leaves_out_is_refused(tmp_path, tokenizer_folder):
    (tmp_path / "tea.jsonl").write_text(lines(GOOD))
    items = read_items(tmp_path / "tea.jsonl")
    options = {"behavior": "tea", "contrast": "answers", "split": "dev", "seed": 1, "context": None}
    tokenizer = load_tokenizer(tokenizer_folder)
    for template, message in (
        ("{{ messages[-1]['content'] }}", "leaves the system prompt out"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
    ):
        tokenizer.chat_template = template
        with pytest.raises(UserError, match=message):
            serialize(tokenizer, items, system="Be kind.", **options)


def test_blocks_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match=r"a\.layers: block 4 does not exist.*blocks 0 to 3"):
        resolve_layers([0, 4], 4, "a.layers")
    assert resolve_layers("all", 3, "a.layers") == [0, 1, 2]
    assert resolve_layers({"every": 3}, 8, "a.layers") == [0, 3, 6]


def test_an_unknown_model_type_is_refused(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(UserError, match=r"config\.json: of model type 'abacus' .*has no causal"):
        refuse_unknown(path, {"model_type": "abacus"})


def test_cuda_where_there_is_none_is_refused():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match=r"device: 'cuda' is asked for.*set device: auto or cpu"):
        pick_devices("cuda")
    assert pick_devices("auto")[0].type in ("cpu", "mps")


def default_config():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


def put(config, path, value):
    *parents, last = path.split(".")
    for key in parents:
        config = config[key]
    config[last] = value


# what the library has, as the workflow tells it
KNOWN = {"estimator": NAMES, "measure": list(MEASURES)}
BAD_KEYS = [
    ("steerng", {}, r"unknown key 'steerng' \(did you mean 'steering'\?\); allowed here: study"),
    ("steering.sweeps", {}, r"unknown key 'steering\.sweeps' \(did you mean 'sweep'"),
    ("steering.normalise", True, r"'steering\.normalise' \(did you mean 'normalize'\?\)"),
    ("steering.estimator", "mean", r"steering\.estimator: 'mean' is not allowed; .*pca, probe"),
    ("statistics.measures", ["odds"], r"measures\[0\]: 'odds' is not allowed; .*p_matching"),
    ("seed", 4.0, r"seed: 4\.0 is not allowed; expected integer"),
    ("steering.sweep.shards", 2.0, r"shards: 2\.0 is not allowed; expected integer"),
    ("statistics.resamples", 200.0, r"resamples: 200\.0 is not allowed"),
    ("statistics.confidence", float("nan"), r"confidence: nan is not a finite number"),
    ("lookups.heads.active", [0.25, float("inf")], r"active\[1\]: inf is not a finite number"),
    ("steering.completions.top_p", True, r"top_p: True is not allowed; expected number"),
    ("device", "gpu", r"device: 'gpu' is not allowed; expected one of auto, cuda, mps, cpu"),
    ("seed", "many", r"seed: 'many' is not allowed; expected integer \(every random"),
    ("seed", -1, r"seed: -1 is not allowed; expected a number >= 0"),
    ("batch_tokens", 0, r"batch_tokens: 0 is not allowed"),
    ("study", "../up", r"study: '\.\./up' is not allowed"),
    ("study", "models", r"study: results/models/ is where models are kept"),
    ("model.source", "zip", r"model\.source: 'zip' is not allowed; expected one of wheel, hub"),
    ("model.source", "path", r"key 'model\.path' is missing"),
    ("model.wheel.sha256", "abc", r"model\.wheel\.sha256: 'abc' is not allowed; expected 64 hex"),
    (
        "steering.sweep.layers",
        [-1],
        r"steering\.sweep\.layers: \[-1\] is not allowed; expected all",
    ),
    ("steering.sweep.layers", "some", r"steering\.sweep\.layers: 'some' is not allowed"),
    ("steering.sweep.multipliers", ["x"], r"multipliers\[0\]: 'x' is not allowed; expected number"),
    ("steering.sweep.multipliers", [], r"multipliers: \[\] is not allowed; expected at least one"),
    ("steering.sweep.multipliers", [0], r"needs a multiplier other than 0"),
    ("steering.sweep.multipliers", [1, 1], r"entries that differ"),
    ("steering.sweep.multipliers", [float("nan"), 1], r"multipliers\[0\]: nan is not a finite"),
    ("steering.dose_response.multipliers", [float("inf")], r"\[0\]: inf is not a finite number"),
    ("steering.behaviors", ["hope"], r"behaviors\[0\]: 'hope' is not declared.*declared: optimism"),
    ("steering.contrasts", ["numbers"], r"contrasts\[0\]: 'numbers' is not allowed.*answers"),
    (
        "steering.prompts.split",
        {"train": 1},
        r"split\.train: 1 is not allowed; expected 2 items or more, a share such as 40%, or all",
    ),
    ("steering.cost.multipliers", [0], r"steering\.cost\.multipliers: needs a multiplier other"),
    ("steering.cost.random.multipliers", [0], r"steering\.cost\.random\.multipliers: needs a mul"),
    (
        "steering.reasoning.multipliers",
        [float("nan")],
        r"reasoning\.multipliers\[0\]: nan is not a",
    ),
    ("behaviors.optimism", {}, r"behaviors\.optimism: has neither items .* nor splits"),
    ("behaviors.optimism.items", "no.jsonl", r"behaviors\.optimism\.items: no file at no\.jsonl"),
    (
        "statistics.confidence",
        1,
        r"statistics\.confidence: 1 is not allowed; expected a number < 1",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD_KEYS)
def test_a_wrong_key_is_named_with_what_is_allowed(path, value, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = default_config()
    assert validated(config, SCHEMA, KNOWN)
    put(config, path, value)
    with pytest.raises(UserError, match=message):
        validated(config, SCHEMA, KNOWN)


def test_a_section_that_is_given_in_part_takes_the_rest_of_its_defaults(monkeypatch):
    monkeypatch.chdir(ROOT)
    defaults = yaml.safe_load(SCHEMA.read_text())["properties"]["steering"]["properties"]
    config = default_config()
    config["steering"]["prompts"]["split"] = {"train": 2}
    config["steering"]["cost"]["random"] = {"directions": 7}
    found = validated(config, SCHEMA)["steering"]
    split = defaults["prompts"]["properties"]["split"]["default"]
    assert found["prompts"]["split"] == {**split, "train": 2}
    random = default_config()["steering"]["cost"]["random"]
    assert found["cost"]["random"] == {**random, "directions": 7}


@pytest.mark.workflow
def test_the_workflow_refuses_a_wrong_configuration_before_it_starts(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    process = snakemake(tmp_path, {**config, "devise": "cpu"})
    assert process.returncode != 0
    assert "unknown key 'devise' (did you mean 'device'?)" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.workflow
def test_a_failed_job_shows_its_message_and_leaves_no_output(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    config["steering"]["behaviors"] = ["one"]
    config["steering"]["sweep"]["layers"] = [1, 9]
    process = snakemake(tmp_path, config, "results/tiny/steering/one.answers.dev.parquet")
    assert process.returncode != 0
    message = "steering.sweep.layers: block 9 does not exist; the model has blocks 0 to 3"
    assert message in process.stderr + process.stdout
    assert "Traceback" not in process.stderr
    assert not list((tmp_path / "results/tiny").glob("steering/*.parquet"))
    assert not list((tmp_path / "results").rglob("*.part*"))
