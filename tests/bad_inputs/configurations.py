"""Configurations whose keys or values are wrong, and files that hold them."""

import copy
import datetime

import yaml
from tiny_models import ROOT

from steerpaper.steering.estimators import NAMES
from steerpaper.steering.measures import MEASURES
from steerpaper.workflow.config import bases_of, check_file, validated

KNOWN = {"estimator": NAMES, "measure": list(MEASURES)}
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


def _with(path, value):
    """The default study with one other value."""
    return _together({path: value})


def _together(changes):
    """The default study with other values."""

    def case(folder, model):
        config = copy.deepcopy(DEFAULT)
        for path, value in changes.items():
            *parents, last = path.split(".")
            place = config
            for key in parents:
                place = place.setdefault(key, {})
            place[last] = value
        validated(config, ROOT / "config.schema.yaml", KNOWN)

    return case


OWN = {"splits": {"train": "data/behaviors/optimism.jsonl", "test": "data/behaviors/warmth.jsonl"}}


def _file(text, name="mine.yaml"):
    """A configuration file that holds `text`."""

    def case(folder, model):
        path = folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        check_file(path)

    return case


def _extending(**files):
    """A configuration file mine.yaml that extends another, each file with its text."""

    def case(folder, model):
        for name, text in files.items():
            (folder / f"{name}.yaml").write_text(text)
        bases_of(folder / "mine.yaml")

    return case


def _a_folder(folder, model):
    check_file(folder)


CASES = {
    "no GPU for a job": _with("gpus_per_job", 0),
    "half a GPU for a job": _with("gpus_per_job", 0.5),
    "weights that are to wait on a GPU": _with("offload.to", "gpu"),
    "no memory for weights on a GPU": _with("offload", {"to": "cpu", "gpu_memory": 0}),
    "weights of three bits": _with("model.quantize", "3bit"),
    "quantized weights on a CPU": _together({"model.quantize": "8bit", "device": "cpu"}),
    "quantized weights that are to wait elsewhere": _together(
        {"model.quantize": "4bit", "offload.to": "disk"}
    ),
    "a GGUF source that names no file": _with("model.source", "gguf"),
    "a GGUF file of a branch of the hub": _together(
        {
            "model.source": "gguf",
            "model.gguf": {"id": "me/tea", "revision": "main", "file": "tea.gguf"},
        }
    ),
    "a GGUF source of two places": _together(
        {"model.source": "gguf", "model.gguf": {"path": "tea.gguf", "file": "tea.gguf"}}
    ),
    "a GGUF path where no file is": _together(
        {"model.source": "gguf", "model.gguf": {"path": "tea.gguf"}}
    ),
    "a seed that is a whole float": _with("seed", 4.0),
    "shards that are a whole float": _with("steering.sweep.shards", 4.0),
    "3,000 shards": _with("steering.sweep.shards", 3000),
    "a block number that is a whole float": _with("steering.sweep.layers", {"every": 2.0}),
    "resamples that are a whole float": _with("statistics.resamples", 200.0),
    "a confidence that is not a number": _with("statistics.confidence", float("nan")),
    "an infinite temperature": _with("steering.completions.temperature", float("inf")),
    "a share of active prompts that is infinite": _with("lookups.heads.active", [0.2, 1e999]),
    "a ratio that is true": _with("lookups.truncation.ratio", True),
    "a study that is called as the models' folder": _with("study", "models"),
    "an unknown key": _with("steering.normalise", True),
    "an unknown key of 5,000 characters": _with("tea" * 5000, 1),
    "a study of another kind": _with("studies", ["steering", "tea"]),
    "no study at all": _with("studies", []),
    "an unknown key with a line break": _with("tea\n", 1),
    "a key that is a number": _with("steering.cost", {1: 2}),
    "a study name with a line break": _with("study", "tea\n"),
    "a study name with a folder": _with("study", "../tea"),
    "a study name of 300 characters": _with("study", "tea" * 100),
    "a behaviour name with a line break": _with("behaviors.tea\n", {"items": "tea.jsonl"}),
    "a model name of 300 characters": _with("model.name", "tea" * 100),
    "a date that is no day": _with("model.date", "2025-02-30"),
    "a date in another form": _with("model.date", "3 Feb 2025"),
    "a date with a time": _with("model.date", datetime.datetime(2025, 2, 3, 12)),
    "half of a character in a system prompt": _with("steering.prompts.system", "Be \ud800."),
    "a system prompt that is a number": _with("steering.prompts.system", 3),
    "a file name with braces": _with("behaviors.optimism.items", "data/{tea}.jsonl"),
    "a file name with a line break": _with("behaviors.optimism.items", "data/tea\n.jsonl"),
    "a file name of 300 characters": _with("behaviors.optimism.about", "data/" + "tea" * 100),
    "a file name with a NUL": _with("steering.cost.neutral", "data/tea\0.jsonl"),
    "a chat template that is not there": _with("model.chat_template", "mine.jinja"),
    "all of items that are dealt": _with("steering.prompts.split.train", "all"),
    "one item for the choice of the block": _with("steering.prompts.split.dev", 1),
    "no items for the choice of the block": _with("steering.prompts.split.dev", 0),
    "no file for the choice of the block": _together(
        {"behaviors.optimism": OWN, "steering.behaviors": ["optimism"]}
    ),
    "a file of open questions that is not there": _with("behaviors.optimism.open", "open.json"),
    "letters by another rule": _with("steering.prompts.letters", "random"),
    "a file that is not there": _with("behaviors.optimism.items", "data/tea.jsonl"),
    "a folder in the place of a file": _with("steering.cost.knowledge", "data"),
    "a model folder with braces": _with("model", {"name": "m", "source": "path", "path": "{m}"}),
    "items that are a list": _with("behaviors.optimism.items", ["data/tea.jsonl"]),
    "a behaviour that is a file name": _with("behaviors.optimism", "data/tea.jsonl"),
    "behaviours that are a list": _with("behaviors", ["optimism"]),
    "a seed of 1,000 digits in quotation marks": _with("seed", "7" * 1000),
    "a file with a key that stands twice": _file("study: tea\nseed: 1\nstudy: coffee\n"),
    "a file with a key that stands twice in a section": _file(
        "steering:\n  sweep: {shards: 1}\n  layer: 3\n  sweep: {shards: 2}\n"
    ),
    "a JSON file with a key that stands twice": _file('{"seed": 1, "seed": 2}', "mine.json"),
    "a JSON file with NaN": _file('{"seed": NaN}', "mine.json"),
    "a file that is not YAML": _file("study: [tea\nseed: 1\n"),
    "a file that is not text": _file(b"study: tea\nseed: \xff\n"),
    "a file of 100,000 brackets": _file("[" * 100_000),
    "a file that holds a list": _file("- study: tea\n"),
    "a file that is empty": _file(""),
    "a file with a tag for Python objects": _file("study: !!python/name:os.system\n"),
    "a file that would run what it holds": _file(
        "__use_yte__: true\nseed: ?__import__('os').getpid()\n"
    ),
    "a folder in the place of a configuration": _a_folder,
    "a file that extends one that is not there": _extending(mine="extends: base.yaml\n"),
    "a file that extends itself": _extending(mine="extends: mine.yaml\n"),
    "two files that extend each other": _extending(
        mine="extends: base.yaml\n", base="extends: mine.yaml\n"
    ),
    "a file that extends two": _extending(mine="extends: [a.yaml, b.yaml]\n", a="", b=""),
    "a file that extends one with a key that stands twice": _extending(
        mine="extends: base.yaml\n", base="seed: 1\nseed: 2\n"
    ),
    "no configuration file": lambda folder, model: check_file(folder / "none.yaml"),
}
