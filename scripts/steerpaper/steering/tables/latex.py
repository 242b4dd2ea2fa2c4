"""The headline tables as LaTeX (booktabs): what a paper prints, estimates with their intervals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from steerpaper.shown import as_latex


@dataclass(frozen=True)
class Headline:
    """How a CSV table becomes a LaTeX one.

    Attributes:
        caption: the table's caption.
        labels: columns that name a row, and their headings.
        estimates: headings, each with the columns of estimate, low and high.
        numbers: further columns, and their headings.
        rows: column values that a row must have to be printed; None stands for an empty cell.
    """

    caption: str
    labels: Mapping[str, str]
    estimates: Mapping[str, tuple[str, str, str]]
    numbers: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, object] = field(default_factory=dict)


def latex_table(table: pd.DataFrame, headline: Headline, name: str) -> str:
    """A table's LaTeX source; an estimate that does not exist (n = 0) is a dash, and one without an
    interval (a single prompt) stands alone.

    Args:
        table: as read from the CSV file.
        name: the table's name, of which its label is made.
    """
    for column, value in headline.rows.items():
        table = table[table[column].isna() if value is None else table[column] == value]
    shown = pd.DataFrame(index=table.index)
    for column, heading in headline.labels.items():
        shown[heading] = table[column].map(_label)
    for heading, (mean, low, high) in headline.estimates.items():
        shown[heading] = [
            _estimate(*map(float, numbers))
            for numbers in zip(table[mean], table[low], table[high], strict=True)
        ]
    for column, heading in headline.numbers.items():
        shown[heading] = [_number(float(x), ".3g") for x in table[column]]
    shown = shown.map(as_latex)
    source: str = shown.to_latex(
        index=False,
        caption=headline.caption,
        label=f"tab:{name}",
        position="t",
        column_format="l" * len(headline.labels)
        + "r" * (len(headline.estimates) + len(headline.numbers)),
    )
    return source


def _label(value: object) -> str:
    if isinstance(value, float):
        return _number(value, "g")
    return str(value)


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "–"


def _estimate(mean: float, low: float, high: float) -> str:
    shown = _number(mean, ".2f")
    if not math.isfinite(mean) or not (math.isfinite(low) and math.isfinite(high)):
        return shown
    return f"{shown} [{low:.2f}, {high:.2f}]"
