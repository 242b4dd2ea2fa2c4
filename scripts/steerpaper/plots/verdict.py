"""Published numbers beside a study's own, marked by the verdict."""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from steerpaper.plots.pages import PAGE
from steerpaper.plots.style import COLOURS, GREY, note

LOOKS: Mapping[str, dict[str, Any]] = {
    "inside": {"color": COLOURS[0], "marker": "o"},
    "outside": {"color": COLOURS[3], "marker": "X"},
    "not comparable": {"color": COLOURS[0], "marker": "D", "mfc": "white"},
}
PUBLISHED: Mapping[str, Any] = {"color": GREY, "marker": "|", "ms": 7, "mew": 1.5}
GROUP = ["paper", "quantity", "model"]

ROW = 0.15  # inches
HEAD = 0.5  # inches of a panel beside its rows: its title, its axis
LEGEND = 0.45
# rows from which they stand in two columns, and in three
TWO, THREE = 30, 80


@dataclass(frozen=True)
class Panel:
    """Rows of one paper, quantity and model that stand together."""

    title: str
    rows: pd.DataFrame

    @property
    def height(self) -> float:
        """In inches."""
        return HEAD + ROW * len(self.rows)


def verdict(table: pd.DataFrame, counts: pd.DataFrame) -> Figure:
    """Every published number that the study computes, and ours, with both intervals.

    Args:
        table: paper, quantity, model, setting, published, published_low, published_high, ours, low,
            high, verdict.
        counts: paper, numbers, inside, outside, not_comparable.
    """
    if table.empty:
        figure, ax = plt.subplots(figsize=(PAGE, 1), layout="constrained")
        ax.set_axis_off()
        note(ax, "no paper's published numbers are of what this study computes", fontsize=8)
        return figure
    columns = 1 if len(table) <= TWO else 2 if len(table) <= THREE else 3
    placed = _placed(_panels(table, math.ceil(len(table) / columns)), columns)
    high = max(sum(panel.height for panel in column) for column in placed) + LEGEND
    figure = plt.figure(figsize=(PAGE, high))
    for place, column in enumerate(placed):
        top = high - LEGEND
        for panel in column:
            _draw(_axes(figure, panel, place, columns, top), panel, columns)
            top -= panel.height
    _legend(figure, counts)
    return figure


def _panels(table: pd.DataFrame, most: int) -> list[Panel]:
    """A panel a paper, quantity and model, of `most` rows at most."""
    found = []
    for (paper, quantity, model), rows in table.groupby(GROUP, sort=False, dropna=False):
        title = f"{paper}: {str(quantity).replace('_', ' ')}"
        title += "" if pd.isna(model) else f", {model}"
        for first in range(0, len(rows), most):
            more = " (continued)" if first else ""
            found.append(Panel(title + more, rows.iloc[first : first + most]))
    return found


def _placed(panels: list[Panel], columns: int) -> list[list[Panel]]:
    """The panels in columns of about the same height, in their order."""
    share = sum(panel.height for panel in panels) / columns
    placed: list[list[Panel]] = [[] for _ in range(columns)]
    done = 0.0
    for panel in panels:
        middle = done + panel.height / 2
        placed[min(int(middle / share), columns - 1)].append(panel)
        done += panel.height
    return placed


def _axes(figure: Figure, panel: Panel, place: int, columns: int, top: float) -> Axes:
    """A panel's axes, with room for the settings at its left."""
    high, wide = figure.get_figheight(), PAGE / columns
    names = 0.42 * wide if columns > 1 else 0.33 * wide
    left = place * wide + names
    bottom = top - panel.height + 0.25
    size = (wide - names - 0.12, ROW * len(panel.rows))
    return figure.add_axes((left / PAGE, bottom / high, size[0] / PAGE, size[1] / high))


def _draw(ax: Axes, panel: Panel, columns: int) -> None:
    """The rows from above: the published number over ours."""
    rows = panel.rows.reset_index(drop=True)
    for y, row in rows.iterrows():
        _point(
            ax, float(str(y)) - 0.17, row, "published", "published_low", "published_high", PUBLISHED
        )
        _point(
            ax,
            float(str(y)) + 0.17,
            row,
            "ours",
            "low",
            "high",
            {"ms": 3.5, **LOOKS[row["verdict"]]},
        )
    wide = {1: 52, 2: 34, 3: 26}[columns]
    names = [_shortened(_setting(text), wide) for text in rows["setting"].fillna("")]
    ax.set_yticks(range(len(rows)), names, fontsize=6 if columns < 3 else 4.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.tick_params(axis="both", length=0, labelsize=6 if columns < 3 else 4.5)
    ax.grid(axis="x", lw=0.3, color="0.85")
    ax.set_axisbelow(True)
    ax.margins(x=0.06)
    # over the names too, which the axes do not hold
    ax.set_title(
        _shortened(panel.title, {1: 90, 2: 58, 3: 50}[columns]),
        fontsize=7 if columns < 3 else 5.5,
        loc="right",
    )


def _setting(text: str) -> str:
    """A setting without its keys, which the values tell."""
    return ", ".join(part.partition("=")[2] for part in text.split("; ")) if text else "all"


def _shortened(text: str, most: int) -> str:
    return (
        text if len(text) <= most else textwrap.shorten(text, most, placeholder=" …") or text[:most]
    )


def _point(
    ax: Axes, y: float, row: Any, value: str, low: str, high: str, look: Mapping[str, Any]
) -> None:
    """A number with its interval, where it has one."""
    if pd.notna(row[value]):
        ax.plot([row[value]], [y], ls="", **look)
    if pd.notna(row[low]) and pd.notna(row[high]):
        ax.hlines(y, row[low], row[high], color=look["color"], lw=0.8)


def _legend(figure: Figure, counts: pd.DataFrame) -> None:
    """The marks, each verdict with how many numbers have it."""
    of_all = counts[counts["paper"] == "all"].iloc[0]
    handles = [Line2D([], [], ls="", **PUBLISHED)]
    names = [f"published ({of_all['numbers']})"]
    for said, look in LOOKS.items():
        handles.append(Line2D([], [], ls="", **{"ms": 4, **look}))
        names.append(f"ours, {said} ({of_all[said.replace(' ', '_')]})")
    figure.legend(handles, names, loc="upper center", ncols=4, fontsize=7)
