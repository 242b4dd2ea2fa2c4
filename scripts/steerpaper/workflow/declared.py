"""What report/*.yaml declares: summaries and figures, each a row; Snakemake is not known here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]
Names = Mapping[str, Sequence[str]]


# says the same as the one in Python, in a tenth of its time; not every build of the package has it
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def rows_of(path: Path) -> dict[str, Row]:
    """The rows of a file of declarations, by name."""
    found: dict[str, Row] = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    return found


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value


def values_of(config: Mapping[str, Any], keys: Sequence[str]) -> Row:
    """The values of dotted keys; None for one that the configuration does not have."""
    found = {}
    for key in keys:
        try:
            found[key] = value_at(config, key)
        except (KeyError, TypeError):
            found[key] = None
    return found


def settings_of(row: Row, config: Mapping[str, Any]) -> Row:
    """A row's `settings` with the configuration's values; `interval` with the seed."""
    found = {name: value_at(config, key) for name, key in row.get("settings", {}).items()}
    if "interval" in found:
        kept = {key: found["interval"][key] for key in ("resamples", "confidence")}
        found["interval"] = {"seed": config["seed"], **kept}
    return found


def combinations(template: str, names: Names) -> list[dict[str, str]]:
    """The values of a template's wildcards, every combination, the first wildcard slowest.

    Args:
        names: the values of every wildcard that a template may have.
    """
    found: list[dict[str, str]] = [{}]
    for wildcard, values in names.items():
        if f"{{{wildcard}}}" in template:
            found = [{**one, wildcard: value} for one in found for value in values]
    return found


def paths_of(template: str, names: Names) -> list[str]:
    """The files that a template stands for, in the order of `combinations`."""
    return [template.format(**one) for one in combinations(template, names)]


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """Texts, at any depth, with {words} put in; other braces are left."""
    if isinstance(value, dict):
        return {filled(key, words): filled(below, words) for key, below in value.items()}
    if isinstance(value, list):
        return [filled(below, words) for below in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(f"{{{word}}}", text)
    return value


def measured_tables(tables: Mapping[str, Row]) -> set[str]:
    """The tables that hold a row for every measure."""
    measured = (row for row in tables.values() if "measures" in row.get("settings", {}))
    return {name for row in measured for name in row["tables"]}


def headlines(tables: Mapping[str, Row], words: Mapping[str, str]) -> dict[str, Row]:
    """How tables are printed in LaTeX, by table; of several measures' rows one measure's.

    Args:
        words: what texts call the measure: measure (its name), title, Title, unit.
    """
    measured = measured_tables(tables)
    found = {}
    for row in tables.values():
        for name, latex in row.get("latex", {}).items():
            found[name] = filled(latex, words)
            kept = {"measure": words["measure"]} if name in measured else {}
            found[name]["rows"] = found[name].get("rows", {}) | kept
    return found


def csv_names(tables: Mapping[str, Row]) -> dict[str, str]:
    """Every table's text for the report, by the table's name."""
    return {name: about for row in tables.values() for name, about in row["tables"].items()}
