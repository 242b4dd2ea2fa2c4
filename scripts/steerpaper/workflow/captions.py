"""What the report's captions quote: tables' numbers, read when the report is made.

Snakemake renders captions (report/captions/*.rst) with a Jinja environment of its own, to which it
gives a job's files and the configuration, but nothing that reads a file. `for_captions` puts these
functions beside them, so that a caption's numbers are those of the tables, always.
"""

import csv
import json
import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2.defaults import DEFAULT_NAMESPACE

_INTEGER = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?\d+\.?\d*(e[+-]?\d+)?", re.IGNORECASE)
NONE = "–"  # where there is no number

Row = dict[str, Any]


def rows(path: str) -> list[Row]:
    """A CSV table's rows: what looks like a number is one, and an empty cell is None."""
    with open(path, encoding="utf-8", newline="") as lines:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(lines)]


def _value(text: str) -> str | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text or None


def scored(path: str, config: Mapping[str, Any]) -> list[Row]:
    """A CSV table's rows of the measure that figures show, the configuration's first."""
    shown = config["statistics"]["measures"][0]
    return [row for row in rows(path) if row["measure"] == shown]


def read_json(path: str) -> Any:
    """What a JSON file holds."""
    with open(path, encoding="utf-8") as source:
        return json.load(source)


def number(value: float | None) -> str:
    """An integer as it is, another number with three significant digits."""
    if value is None:
        return NONE
    return f"{value:d}" if isinstance(value, int) else f"{value:.3g}"


def percent(share: float | None) -> str:
    """A share in percent."""
    return NONE if share is None else f"{100 * share:.3g}%"


def p_value(p: float | None) -> str:
    """A p-value, "p = 0.0019"; no test, no p."""
    if p is None:
        return "no p"
    return "p < 1e-16" if p < 1e-16 else f"p = {p:.2g}"


def estimate(row: Row, name: str, low: str = "", high: str = "") -> str:
    """A number with its interval, "3.69 (3.24 to 4.15)"; without one, where there is none.

    Args:
        low, high: the columns of the interval; without them `<name>_low` and `<name>_high`.
    """
    value, below, above = row[name], row[low or f"{name}_low"], row[high or f"{name}_high"]
    if value is None:
        return NONE
    interval = "no interval" if below is None else f"{number(below)} to {number(above)}"
    return f"{number(value)} ({interval})"


def marked(row: Row) -> str:
    """What is doubtful about a row, with the figures' mark; "" where nothing is."""
    return f" († {row['flags']})" if row["flags"] else ""


def median(values: Iterable[float | None]) -> float | None:
    """The median of the numbers that there are."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the numbers that there are."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def highest(found: Iterable[Row], name: str) -> Row:
    """Of some rows the one with the highest number; where none has a number, the first."""
    return max(found, key=lambda row: -math.inf if row[name] is None else row[name])


def for_captions(measures: Mapping[str, str], few: int) -> None:
    """Make these functions known to every Jinja environment that is made from now on.

    Args:
        measures: what a caption says that the score is, by the measure's name.
        few: behaviours; figures of more have another form.
    """

    def many(path: str) -> bool:
        return len({row["behavior"] for row in rows(path)}) > few

    def score(config: Mapping[str, Any]) -> str:
        return measures[config["statistics"]["measures"][0]]

    functions: list[Callable[..., Any]] = [rows, scored, score, read_json, number, percent]
    functions += [many, p_value, estimate, marked, median, mean, highest]
    DEFAULT_NAMESPACE.update({function.__name__: function for function in functions})
