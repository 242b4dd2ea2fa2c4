"""Figures of benchmarks: accuracy of the steered model by multiplier, all questions together."""

import math
from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steerpaper.plots.conditions import behavior_lines
from steerpaper.plots.many import head, summary
from steerpaper.plots.many_conditions import vector_and_random
from steerpaper.plots.style import colours, counts, dagger, flag_marks, legend, panels, titles

# panels below each other that fit a page in one column
COLUMN_OF = 4


def benchmarks(table: pd.DataFrame) -> Figure:
    """Accuracy by multiplier: a panel a benchmark and way of asking, a colour a behaviour.

    Args:
        table: behavior, benchmark, category, contrast, direction, multiplier, n, value, low, high,
            chance, flags; of categories only the whole is drawn.
    """
    table = _whole(table)
    palette = colours(list(table["behavior"].unique()))
    kinds = _kinds(table)
    figure, axes = _panels(kinds)
    for ax, (benchmark, contrast), of_kind in _each(axes, kinds, table):
        for number, (behavior, colour) in enumerate(palette.items()):
            # side by side, so that the bars of equal multipliers can be told apart
            shift = 0.04 * (number - (len(palette) - 1) / 2)
            rows = of_kind[of_kind["behavior"] == behavior]
            behavior_lines(ax, rows, behavior, colour, shift)
        _axis(ax, of_kind)
        head(ax, f"{benchmark}, {contrast}{dagger(of_kind)}", f"{counts(of_kind)}", 60)
    titles(figure, x="multiplier", y="accuracy (dotted: chance)")
    legend(figure, axes, 2)
    flag_marks(figure, table)
    return figure


def many(table: pd.DataFrame) -> Figure:
    """The same of many behaviours: a line each, and their median beside random directions'.

    Args:
        table: as `benchmarks` takes it.
    """
    table = _whole(table)
    kinds = _kinds(table)
    figure, axes = _panels(kinds)
    for ax, (benchmark, contrast), of_kind in _each(axes, kinds, table):
        vector_and_random(ax, of_kind)
        _axis(ax, of_kind)
        letters = 60 if len(kinds) <= COLUMN_OF else 30
        head(ax, f"{benchmark}, {contrast}", summary(of_kind), letters)
    titles(figure, x="multiplier", y="accuracy (dotted: chance)")
    legend(figure, axes, 2)
    flag_marks(figure, table)
    return figure


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """The rows over all questions, with the intervals' names that lines are drawn by."""
    rows = table[table["category"].fillna("") == ""]
    return rows.rename(columns={"low": "value_low", "high": "value_high"})


def _kinds(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Every benchmark and way of asking."""
    found = table[["benchmark", "contrast"]].drop_duplicates()
    return list(found.itertuples(index=False, name=None))


def _panels(kinds: list[tuple[str, str]]) -> tuple[Figure, list[Axes]]:
    """Panels in one column, of many in two, no higher together than a page."""
    columns = 1 if len(kinds) <= COLUMN_OF else 2
    height = min(1.5, 9.5 / math.ceil(len(kinds) / columns))
    return panels(kinds, columns=columns, height=height, sharex=True, sharey=True)


def _each(
    axes: list[Axes], kinds: list[tuple[str, str]], table: pd.DataFrame
) -> Iterator[tuple[Axes, tuple[str, str], pd.DataFrame]]:
    for ax, (benchmark, contrast) in zip(axes, kinds, strict=True):
        here = (table["benchmark"] == benchmark) & (table["contrast"] == contrast)
        yield ax, (benchmark, contrast), table[here]


def _axis(ax: Axes, table: pd.DataFrame) -> None:
    """Shares from 0 to 1, and what guessing gives."""
    ax.axhline(table["chance"].mean(), color="0.6", lw=0.6, ls=":")
    ax.set_ylim(0, 1.04)
