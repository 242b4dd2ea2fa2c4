"""The configuration: checked against its JSON Schema, defaults filled in, mistakes named."""

import copy
import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator

from steerpaper.errors import UserError

Config = dict[str, Any]


def validated(config: Mapping[str, Any], schema: Path) -> Config:
    """Return a copy of `config` with the schema's defaults filled in.

    Raises:
        UserError: names every key that is unknown or wrong, and what is allowed there.
    """
    rules = yaml.safe_load(schema.read_text(encoding="utf-8"))
    filled = copy.deepcopy(dict(config))
    _fill_defaults(filled, rules, rules)
    validator: Validator = Draft202012Validator(rules)
    errors = sorted(validator.iter_errors(filled), key=lambda error: list(map(str, error.path)))
    problems = [problem for error in errors for problem in _explain(error)]
    if not problems:
        problems = _check_meaning(filled)
    if problems:
        raise UserError("configuration: " + "\n  configuration: ".join(problems))
    return filled


def _fill_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if not isinstance(value, dict):
        return
    for key, rule in schema.get("properties", {}).items():
        if key not in value and "default" in rule:
            value[key] = copy.deepcopy(rule["default"])
        if key in value:
            _fill_defaults(value[key], rule, root)


def _at(path: Any, key: Any = None) -> str:
    parts = [*path] if key is None else [*path, key]
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the file"


def _explain(error: jsonschema.ValidationError) -> list[str]:
    """One sentence for each problem: the key's path, what is wrong, what is allowed."""
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    allowed = schema.get("description")
    match error.validator:
        case "additionalProperties":
            known = list(schema.get("properties", {}))
            unknown = [key for key in error.instance if key not in known]
            return [
                f"unknown key '{_at(error.path, key)}'{_nearest(str(key), known)}; "
                f"allowed here: {', '.join(known)}"
                for key in unknown
            ]
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            return [f"key '{_at(error.path, key)}' is missing" for key in missing]
        case "enum":
            allowed = f"one of {', '.join(map(str, error.validator_value))}"
        case "anyOf":
            allowed = allowed or "another form"
        case "type":
            types = error.validator_value
            allowed = allowed or " or ".join([types] if isinstance(types, str) else types)
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<="}
            allowed = f"a number {bounds.get(error.validator, '<')} {error.validator_value}"
        case "minItems" | "minProperties":
            allowed = "at least one entry"
        case "uniqueItems":
            allowed = "entries that differ from each other"
        case "pattern":
            allowed = allowed or f"text that matches {error.validator_value}"
    return [f"{_at(error.path)}: {error.instance!r} is not allowed; expected {allowed}"]


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


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
    if corpus["source"] == "file" and not Path(corpus["file"]["path"]).is_file():
        problems.append(f"lookups.corpus.file.path: no file at {corpus['file']['path']}")
    return problems


def _check_meaning(config: Config) -> list[str]:
    """What a schema cannot say."""
    problems = []
    steering = config["steering"]
    known = list(config["behaviors"])
    for position, name in enumerate(steering["behaviors"]):
        if name not in known:
            problems.append(
                f"steering.behaviors[{position}]: '{name}' is not declared under behaviors"
                f"{_nearest(name, known)}; declared: {', '.join(known)}"
            )
            continue
        for kind, path in config["behaviors"][name].items():
            if not Path(path).is_file():
                problems.append(f"behaviors.{name}.{kind}: no file at {path}")
    lists = {
        "sweep.multipliers": steering["sweep"]["multipliers"],
        "sweep.random.multipliers": steering["sweep"]["random"]["multipliers"],
        "dose_response.multipliers": steering["dose_response"]["multipliers"],
        "dose_response.random.multipliers": steering["dose_response"]["random"]["multipliers"],
        "completions.multipliers": steering["completions"]["multipliers"],
    }
    for key, multipliers in lists.items():
        for position, multiplier in enumerate(multipliers):
            if not math.isfinite(multiplier):
                problems.append(
                    f"steering.{key}[{position}]: {multiplier} is not a finite number"
                )
        if not any(multipliers) and not key.startswith("completions"):
            problems.append(
                f"steering.{key}: needs a multiplier other than 0 "
                "(the unsteered run is always there)"
            )
    problems += _check_corpus(config["lookups"])
    lowest, highest = config["lookups"]["heads"]["active"]
    if lowest > highest:
        problems.append(f"lookups.heads.active: {lowest} is more than {highest}: swap them")
    return problems
