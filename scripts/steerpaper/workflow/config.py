"""The configuration: checked against its JSON Schema, defaults filled in, mistakes named."""

import copy
import datetime
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, extend

from steerpaper.errors import UserError
from steerpaper.reading import read_json, read_yaml, shown
from steerpaper.workflow.checks import meaning, nearest
from steerpaper.workflow.declared import rows_of
from steerpaper.workflow.places import data_files, model_files
from steerpaper.workflow.sources import check_sources

Config = dict[str, Any]


def _is_integer(_: Any, value: Any) -> bool:
    # to JSON Schema 4.0 is an integer; a seed of 4.0 would give other numbers than 4
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: Any, value: Any) -> bool:
    return _is_integer(_, value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(_: Any, value: Any) -> bool:
    # half of a character can be written in YAML, and into no file
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _pattern(
    validator: Any, pattern: str, value: Any, _: Any
) -> Iterator[jsonschema.ValidationError]:
    # to Python `$` is before a last line break too
    whole = re.sub(r"\$$", r"\\Z", pattern)
    if validator.is_type(value, "string") and not re.search(whole, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


STRICT = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    validators={"pattern": _pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number, "string": _is_text}
    ),
)


def check_file(path: str | Path) -> Config:
    """Look at a configuration file before Snakemake takes what it says, and return that.

    Of a key that stands twice Snakemake keeps the last, and `__use_yte__` makes it run what the
    file holds.

    Raises:
        UserError: names the file and the line.
    """
    content: Any = read_json(path) if Path(path).suffix == ".json" else read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: {shown(content)} is not allowed; expected keys (see config.yaml)")
    if "__use_yte__" in content:
        raise UserError(
            f"{path}: __use_yte__ is not allowed; a configuration is data and runs nothing"
        )
    return content


def bases_of(path: str | Path) -> list[Path]:
    """The files that a configuration file extends, the one that all others stand on first.

    A file names the one that it extends by `extends`, from its own folder; its own keys go before.

    Raises:
        UserError: names the file whose `extends` names no file, or one that extends it in turn.
    """
    found: list[Path] = []
    here = Path(path)
    while (named := check_file(here).get("extends")) is not None:
        if not isinstance(named, str) or not named:
            raise UserError(
                f"{here}: extends: {shown(named)} is not allowed; expected the path of a "
                "configuration file, from this file's folder"
            )
        base = here.parent / named
        if not base.is_file():
            raise UserError(f"{here}: extends: no file at {base}")
        if any(base.samefile(one) for one in (Path(path), *found)):
            raise UserError(
                f"{here}: extends: {named} is this file or extends it in turn; leave it out here"
            )
        found.append(base)
        here = base
    return found[::-1]


def validated(
    config: Mapping[str, Any], schema: Path, known: Mapping[str, Sequence[str]] | None = None
) -> Config:
    """Return a copy of `config` with the schema's defaults filled in.

    Args:
        known: the values that the schema's definitions of these names allow: what the library has
            (estimators, measures), so that the schema need not list them.

    Raises:
        UserError: names every key that is unknown or wrong, and what is allowed there.
    """
    rules = copy.deepcopy(_rules(schema))
    for name, values in (known or {}).items():
        rules["$defs"][name]["enum"] = list(values)
    filled = copy.deepcopy(dict(config))
    model = filled.get("model")
    if isinstance(model, dict) and isinstance(model.get("date"), datetime.date):
        # YAML makes a date of what is not in quotation marks
        model["date"] = model["date"].isoformat()
    _fill_defaults(filled, rules, rules)
    validator: Validator = STRICT(rules)
    errors = sorted(validator.iter_errors(filled), key=lambda error: list(map(str, error.path)))
    problems = [problem for error in errors for problem in _explain(error)]
    problems = problems or check_sources(filled) or _check_paths(filled)
    if not problems:
        _find_data(filled, schema.parent)
        problems = meaning(filled)
    if problems:
        raise UserError("configuration: " + "\n  configuration: ".join(problems))
    return filled


@cache
def _rules(schema: Path) -> Config:
    return rows_of(schema)


def _find_data(config: Config, workflow: Path) -> None:
    """Data files that are not where the study runs are taken from beside the workflow."""
    for _, place, key in data_files(config):
        path = place[key]
        if not os.path.exists(path) and os.path.isfile(workflow / path):
            place[key] = str(workflow / path)


def _check_paths(config: Config) -> list[str]:
    """Paths that no file can have, or that Snakemake would take for something else."""
    paths = {key: place[name] for key, place, name in data_files(config)}
    source = f"model.{config['model']['source']}"
    paths |= {
        key: place[name] for key, place, name in model_files(config) if key.startswith(source)
    }
    problems = []
    for key, path in paths.items():
        if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", path):
            problems.append(f"{key}: {shown(path)} holds a line break or control character")
        elif re.search(r"[{}]", path):
            problems.append(
                f"{key}: {shown(path)} holds braces, which Snakemake takes for wildcards; "
                "rename the file or folder"
            )
        elif len(path) > 1000 or any(len(os.fsencode(part)) > 255 for part in Path(path).parts):
            problems.append(f"{key}: {shown(path)} is longer than a file's name may be")
    return problems


def _fill_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    default = schema.get("default")
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if not isinstance(value, dict):
        return
    if isinstance(default, dict) and "properties" in schema:
        # a section's own default holds for the keys that a study leaves out of it
        for key, part in default.items():
            value.setdefault(key, copy.deepcopy(part))
    for key, rule in schema.get("properties", {}).items():
        if key not in value and "default" in rule:
            value[key] = copy.deepcopy(rule["default"])
        if key in value:
            _fill_defaults(value[key], rule, root)
    others = schema.get("additionalProperties")
    for key in value.keys() - schema.get("properties", {}).keys():
        if isinstance(others, dict):
            _fill_defaults(value[key], others, root)


def _at(path: Any, key: Any = None) -> str:
    parts = [*path] if key is None else [*path, key]
    text = ""
    for part in parts:
        # a key may be long, or hold a line break
        name = shown(str(part))[1:-1]
        text += f"[{part}]" if isinstance(part, int) else f".{name}" if text else name
    return text or "the file"


def _explain(error: jsonschema.ValidationError) -> list[str]:
    """One sentence for each problem: the key's path, what is wrong, what is allowed."""
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, dict) else {}
    allowed = schema.get("description")
    asked: Any = error.validator_value
    value: Any = error.instance
    match error.validator:
        case "additionalProperties":
            known = list(schema.get("properties", {}))
            unknown = [key for key in value if key not in known]
            return [
                f"unknown key '{_at(error.path, key)}'{nearest(str(key), known)}; "
                f"allowed here: {', '.join(known)}"
                for key in unknown
            ]
        case "required":
            missing = [key for key in asked if key not in value]
            return [f"key '{_at(error.path, key)}' is missing" for key in missing]
        case "enum":
            allowed = f"one of {', '.join('null' if one is None else str(one) for one in asked)}"
        case "anyOf":
            allowed = allowed or "another form"
        case "type" if isinstance(value, float) and not math.isfinite(value):
            return [f"{_at(error.path)}: {value} is not a finite number"]
        case "type":
            meant = f" ({allowed})" if allowed else ""
            allowed = " or ".join([asked] if isinstance(asked, str) else asked) + meant
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<="}
            allowed = f"a number {bounds.get(error.validator, '<')} {asked}"
        case "maxLength":
            allowed = f"at most {asked} characters"
        case "minItems" | "minProperties":
            allowed = "at least one entry"
        case "uniqueItems":
            allowed = "entries that differ from each other"
        case "pattern":
            allowed = allowed or f"text that matches {asked}"
    said = "its value (not shown: it may hold a key)" if _may_hold_a_key(error) else shown(value)
    return [f"{_at(error.path)}: {said} is not allowed; expected {allowed}"]


def _may_hold_a_key(error: jsonschema.ValidationError) -> bool:
    """Whether a value is the endpoint's address or key: logs would keep what a message shows."""
    return bool({"endpoint", "second", "base_url", "key_variable"} & {*list(error.path)[-1:]})
