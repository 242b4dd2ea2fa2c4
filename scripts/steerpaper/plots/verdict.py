"""Published numbers beside a study's own, marked by the verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
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
QUANTITY = ["paper", "quantity"]

ROW = 0.14  # inches
HEAD = 0.5  # inches of a panel beside its rows: its title, its axis
LEGEND = 0.45
# rows from which they stand in two columns, and in three
TWO, THREE = 30, 80
# rows a model from which each model of a quantity has a panel
APART = 6
# rows of a panel that stand at a column's end
LEAST = 3
AGAIN = " (continued)"
# by the number of columns: the share of one for the rows' names, their letters and size
NAMES = {1: (0.36, 60, 6), 2: (0.46, 38, 5.5), 3: (0.53, 38, 4.4)}


@dataclass(frozen=True)
class Panel:
    """Rows of one paper and quantity that stand together, by name, and the ends of their axis."""

    title: str
    names: list[str]
    rows: pd.DataFrame
    ends: tuple[float, float]

    @property
    def height(self) -> float:
        """In inches."""
        return HEAD + ROW * len(self.rows)

    def cut(self, rows: int) -> tuple["Panel", "Panel"]:
        """The first rows, and the others as a panel that goes on."""
        title = f"{self.title.removesuffix(AGAIN)}{AGAIN}"
        return (
            replace(self, names=self.names[:rows], rows=self.rows.iloc[:rows]),
            replace(self, title=title, names=self.names[rows:], rows=self.rows.iloc[rows:]),
        )


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
    placed = _placed(_panels(table), columns)
    high = max(sum(panel.height for panel in column) for column in placed) + LEGEND
    figure = plt.figure(figsize=(PAGE, high))
    for place, column in enumerate(placed):
        top = high - LEGEND
        for panel in column:
            _draw(_axes(figure, panel, place, columns, top), panel, columns)
            top -= panel.height
    _legend(figure, counts)
    return figure


def _panels(table: pd.DataFrame) -> list[Panel]:
    """A panel a paper and quantity, or each model of it."""
    found = []
    numbers = ["published", "published_low", "published_high", "ours", "low", "high"]
    for (paper, quantity), rows in table.groupby(QUANTITY, sort=False):
        values = rows[numbers].to_numpy(dtype=float)
        ends = (float(np.nanmin(values)), float(np.nanmax(values)))
        models = rows["model"].fillna("").unique()
        apart = len(rows) >= APART * len(models)
        title = f"{paper}: {str(quantity).replace('_', ' ')}"
        parts = rows.groupby("model", sort=False, dropna=False) if apart else [("", rows)]
        for model, part in parts:
            names = [_name(row, not apart) for row in part.to_dict("records")]
            head = f"{title}, {model!s}" if model else title
            found.append(Panel(head, names, part, ends))
    return found


def _name(row: Mapping[Any, Any], of_model: bool) -> str:
    """A row's setting without its keys, which the values tell, behind its model."""
    setting = "" if pd.isna(row["setting"]) else row["setting"]
    values = ", ".join(part.partition("=")[2] for part in setting.split("; "))
    model = row["model"] if of_model and not pd.isna(row["model"]) else ""
    return ": ".join(filter(None, (model, values))) or "all"


def _placed(panels: list[Panel], columns: int) -> list[list[Panel]]:
    """The panels in columns of about the same height, in their order; one may go on in the next."""
    # each column but the first may begin with a head of its own
    whole = sum(panel.height for panel in panels) + HEAD * (columns - 1)
    share = whole / columns + ROW
    placed: list[list[Panel]] = [[]]
    left = share
    waiting = list(reversed(panels))
    while waiting:
        panel = waiting.pop()
        fits = int((left - HEAD) / ROW)
        last = len(placed) == columns
        if not last and placed[-1] and fits < min(LEAST, len(panel.rows)):
            placed.append([])
            left = share
            waiting.append(panel)
            continue
        if fits < len(panel.rows) and not last:
            panel, rest = panel.cut(fits)
            waiting.append(rest)
        placed[-1].append(panel)
        left -= panel.height
    return placed


def _axes(figure: Figure, panel: Panel, place: int, columns: int, top: float) -> Axes:
    """A panel's axes, with room for the rows' names at its left."""
    high, wide = figure.get_figheight(), PAGE / columns
    names = NAMES[columns][0] * wide
    bottom = top - panel.height + 0.25
    size = (wide - names - 0.12, ROW * len(panel.rows))
    return figure.add_axes(
        ((place * wide + names) / PAGE, bottom / high, size[0] / PAGE, size[1] / high)
    )


def _draw(ax: Axes, panel: Panel, columns: int) -> None:
    """The rows from above: the published number over ours."""
    _, letters, size = NAMES[columns]
    for y, row in enumerate(panel.rows.to_dict("records")):
        _point(ax, y - 0.17, row, "published", "published_low", "published_high", PUBLISHED)
        look = {"ms": 3.5, **LOOKS[str(row["verdict"])]}
        _point(ax, y + 0.17, row, "ours", "low", "high", look)
    names = [_shortened(name, letters) for name in panel.names]
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    low, high = panel.ends
    margin = 0.05 * (high - low) or 0.05
    ax.set_xlim(low - margin, high + margin)
    ax.tick_params(axis="both", length=0, labelsize=size)
    ax.grid(axis="x", lw=0.3, color="0.85")
    ax.set_axisbelow(True)
    # over the names too, which the axes do not hold
    ax.set_title(
        _shortened(panel.title, {1: 100, 2: 62, 3: 56}[columns]), fontsize=size + 1, loc="right"
    )


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _point(
    ax: Axes,
    y: float,
    row: Mapping[Any, Any],
    value: str,
    low: str,
    high: str,
    look: Mapping[str, Any],
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
