"""What a schema cannot say of a configuration: names that fit, numbers that go together, files."""

import datetime
import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from steerpaper.reading import shown
from steerpaper.workflow.judges import check_ratings
from steerpaper.workflow.places import WORKFLOW, data_files

Config = dict[str, Any]


def meaning(config: Config) -> list[str]:
    """What is wrong with a configuration that fits its schema.

    Returns:
        a sentence for each problem, which begins with the key.
    """
    problems = []
    if (study := config["study"]) in ("models", "data"):
        kept = "models are" if study == "models" else "fetched data is"
        problems.append(f"study: results/{study}/ is where {kept} kept; choose another name")
    try:
        datetime.date.fromisoformat(config["model"]["date"])
    except ValueError as error:
        problems.append(f"model.date: {config['model']['date']!r} is no day: {error}")
    problems += _check_model(config)
    steering = config["steering"]
    known = list(config["behaviors"])
    for position, name in enumerate(steering["behaviors"]):
        if name not in known:
            problems.append(
                f"steering.behaviors[{position}]: {shown(name)} is not declared under behaviors"
                f"{nearest(name, known)}; declared: {', '.join(known)}"
            )
            continue
    problems += _check_files(config) + _check_splits(config) + _check_papers(config["verdict"])
    if steering["normalize"] and steering["multiplier_unit"] == "residual":
        problems.append(
            "steering.normalize: has no effect with multiplier_unit: residual, which gives every "
            "vector the residual stream's norm; set one of the two"
        )
    for name, section in steering.items():
        if isinstance(section, dict):
            problems += _check_multipliers(f"steering.{name}", section)
    if config["paper"] is not None and not os.path.isfile(config["paper"]):
        problems.append(f"paper: no file at {config['paper']}; null takes the workflow's own")
    problems += _check_corpus(config["lookups"])
    lowest, highest = config["lookups"]["heads"]["active"]
    if lowest > highest:
        problems.append(f"lookups.heads.active: {lowest} is more than {highest}: swap them")
    problems += _check_parts(steering) + _check_remote(config)
    rated = named_behaviors(steering["ratings"]["behaviors"], steering["behaviors"])
    return problems + check_ratings(config, rated)


def _check_model(config: Config) -> list[str]:
    """Where the model is, and what does not go with how it is to be loaded."""
    model, problems = config["model"], []
    file = model["gguf"] if model["source"] == "gguf" else {}
    if "path" in file and len(file) > 1:
        problems.append(
            f"model.gguf: is either path, or id, revision and file; found {' and '.join(file)}"
        )
    elif "path" in file and not os.path.isfile(file["path"]):
        problems.append(f"model.gguf.path: no file at {file['path']}")
    quantize, to = model["quantize"], config["offload"]["to"]
    if quantize and config["device"] in ("cpu", "mps"):
        problems.append(
            f"model.quantize: {quantize} needs a CUDA device, and device is {config['device']}; "
            "set device: auto or cuda, or model.quantize: null"
        )
    if quantize and to:
        problems.append(
            f"model.quantize: {quantize} weights stay on the GPUs, and offload.to is {to}; set "
            "offload.to: null (and raise gpus_per_job), or model.quantize: null"
        )
    return problems


def _check_remote(config: Config) -> list[str]:
    """What a model that runs elsewhere cannot do."""
    if not config["model"]["remote"]:
        return []
    problems = []
    if config["model"]["source"] != "hub":
        problems.append(
            f"model.remote: true runs a model of the hub at NDIF, and model.source is "
            f"{config['model']['source']}; set source: hub, or remote: false"
        )
    if config["model"]["quantize"]:
        problems.append(
            "model.quantize: has no say in what NDIF runs (model.remote: true); set it to null"
        )
    if "lookups" in config["studies"]:
        problems.append(
            "model.remote: true leaves the weights at NDIF, and lookups are made of the weights of "
            "heads and neurons; set studies: [steering], or remote: false (docs/remote.md)"
        )
    return problems


def without_dev(config: Config) -> dict[str, str]:
    """The studied behaviours that have no dev items, with the key that says so."""
    found = {}
    for name in config["steering"]["behaviors"]:
        splits = config["behaviors"][name].get("splits")
        if config["steering"]["prompts"]["split"]["dev"] == 0:
            found[name] = "steering.prompts.split.dev: 0"
        elif splits is not None and "dev" not in splits:
            found[name] = f"behaviors.{name}.splits has no file for dev"
    return found


def _check_splits(config: Config) -> list[str]:
    """Sizes that only files of their own can have; a block to be chosen without dev items."""
    steering, problems = config["steering"], []
    studied = [name for name in steering["behaviors"] if name in config["behaviors"]]
    dealt = [name for name in studied if "items" in config["behaviors"][name]]
    for split, size in steering["prompts"]["split"].items():
        if size == "all" and dealt:
            problems.append(
                f"steering.prompts.split.{split}: all is of a split that is a file of its own, but "
                f"behaviors.{dealt[0]} has items, which are dealt into three; give a number"
            )
    if studied == steering["behaviors"] and steering["layer"] == "auto":
        problems += [
            f"steering.layer: auto chooses the block of {name} on dev items, and there are none "
            f"({why}); give dev items, or a block's number"
            for name, why in list(without_dev(config).items())[:1]
        ]
    return problems


def parts_of(steering: Mapping[str, Any]) -> list[str]:
    """The parts of the steering study: its sections that have behaviours of their own."""
    return [
        name
        for name, section in steering.items()
        if isinstance(section, dict) and "behaviors" in section
    ]


def named_behaviors(part: Any, studied: Sequence[str]) -> list[str]:
    """The behaviours that a part of the study runs on: all, the first n, or those named."""
    if part == "all":
        return list(studied)
    return list(studied[:part]) if isinstance(part, int) else list(part)


def _check_multipliers(path: str, section: Config) -> list[str]:
    """Multipliers of a section and of its controls."""
    problems = []
    for place, key in ((section, path), (section.get("random", {}), f"{path}.random")):
        multipliers = place.get("multipliers", [1])
        # what is sampled may be the unsteered model's
        if not any(multipliers) and path != "steering.completions":
            problems.append(
                f"{key}.multipliers: needs a multiplier other than 0 "
                "(the unsteered run is always there)"
            )
    return problems


def _check_parts(steering: Config) -> list[str]:
    """The parts that run on some of the behaviours, at the chosen block."""
    problems = []
    kinds = steering["prompt_kinds"]["kinds"]
    if "base" not in kinds or len(kinds) < 2:
        problems.append(
            "steering.prompt_kinds.kinds: needs base, which all are compared with, and at least "
            f"one other kind; found: {', '.join(kinds)}"
        )
    benchmarks = steering["benchmarks"]
    asked = named_behaviors(benchmarks["behaviors"], steering["behaviors"])
    if asked and not any(benchmarks["sets"].values()):
        problems.append(
            "steering.benchmarks.sets: every set is null; declare one, or set "
            "steering.benchmarks.behaviors: 0"
        )
    for key in parts_of(steering):
        part = steering[key]
        for position, name in enumerate(named_behaviors(part["behaviors"], steering["behaviors"])):
            if name not in steering["behaviors"]:
                problems.append(
                    f"steering.{key}.behaviors[{position}]: {shown(name)} is not among "
                    f"steering.behaviors{nearest(name, steering['behaviors'])}; write all, a "
                    f"number (the first n) or names out of: {', '.join(steering['behaviors'])}"
                )
    return problems


def _check_papers(verdict: Config) -> list[str]:
    """Papers that the study is held against, by name; the workflow's own lie in data/published/."""
    ours = [path.stem for path in sorted(WORKFLOW.glob("data/published/*.csv"))]
    known = [*ours, *verdict["published"]]
    return [
        f"verdict.papers[{place}]: {shown(name)} is no paper that is known{nearest(name, known)}; "
        f"known: {', '.join(known)}"
        for place, name in enumerate(verdict["papers"] or [])
        if name not in known
    ] + [
        f"verdict.published.{name}: is the name of a paper that comes with the workflow; choose "
        "another"
        for name in verdict["published"]
        if name in ours
    ]


def _check_files(config: Config) -> list[str]:
    """Files of raw data that the study reads and that are not there."""
    steering = config["steering"]
    read = ["model.", *(f"behaviors.{name}." for name in steering["behaviors"])]
    if named_behaviors(steering["cost"]["behaviors"], steering["behaviors"]):
        read.append("steering.cost.")
    if named_behaviors(steering["benchmarks"]["behaviors"], steering["behaviors"]):
        read.append("steering.benchmarks.")
    if config["lookups"]["corpus"]["source"] == "file":
        read.append("lookups.corpus.file.")
    read.append("verdict.published.")
    return [
        f"{key}: no file at {place[name]}"
        for key, place, name in data_files(config)
        if key.startswith(tuple(read)) and not os.path.isfile(place[name])
    ]


def _check_corpus(lookups: Config) -> list[str]:
    corpus, problems = lookups["corpus"], []
    for split in ("train", "test"):
        if lookups["top"] > corpus[split]:
            problems.append(
                f"lookups.top: {lookups['top']} prompts a neuron are asked for, but "
                f"lookups.corpus.{split} has {corpus[split]}"
            )
    if corpus["shards"] > min(corpus["train"], corpus["test"]):
        problems.append(f"lookups.corpus.shards: {corpus['shards']} is more than there are prompts")
    return problems


def nearest(key: str, known: Sequence[str]) -> str:
    """The name that a wrong one may stand for, in brackets; "" where none is near."""
    close = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
