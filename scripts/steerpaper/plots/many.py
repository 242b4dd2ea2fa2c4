"""What figures of many behaviours are made of: lines with their median, points, rows of names."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steerpaper.plots.pages import PAGE, names_of
from steerpaper.plots.style import COLUMN, counts
from steerpaper.shown import shortened

ROW = 0.105  # inches: a line of small type
ROWS = 70  # that stand below each other on a page
GROUPS = 3  # of rows that fit beside each other
LETTERS = 5.0  # points: small type
LONGEST = 30  # characters of a name in it


def summary(table: pd.DataFrame, column: str = "n") -> str:
    """How many behaviours some rows are of, how many of these have a flag, and their n, as text."""
    names = names_of(table)
    flagged = 0
    if "flags" in table:
        flagged = table[table["flags"].fillna("").ne("")]["behavior"].nunique()
    parts = [f"{len(names)} behaviours", f"{flagged}†" if flagged else "", counts(table, column)]
    return ", ".join(part for part in parts if part)


def head(ax: Axes, name: str, told: str, letters: int) -> None:
    """A panel's title: its name, and below it what its rows are.

    Args:
        letters: that a line of the panel's width has room for.
    """
    # "n = 40" stays whole
    kept = told.replace("n = ", "n\xa0=\xa0")
    below = textwrap.fill(kept, letters).replace("\xa0", " ")
    ax.set_title(f"{name}\n{below}", fontsize=6)


def lines(
    ax: Axes, table: pd.DataFrame, x: str, y: str, *, color: Any, label: str, ls: str = "-"
) -> None:
    """A thin line a behaviour, and their median where it is: thick.

    Args:
        table: of one number a behaviour and x.
    """
    cells = table.pivot(index=x, columns="behavior", values=y).sort_index()
    # the more lines, the lighter each
    alpha = float(np.clip(9 / max(len(cells.columns), 1), 0.12, 0.5))
    for name in cells:
        one = cells[name].dropna()
        ax.plot(one.index, one, color=color, ls=ls, lw=0.5, alpha=alpha)
    middle = cells.median(axis=1).dropna()
    ax.plot(middle.index, middle, color=color, ls=ls, lw=1.6, marker="o", label=label)


def widest(table: pd.DataFrame, x: str, low: str, high: str) -> pd.DataFrame:
    """The lowest low and the highest high of all behaviours by x, in order, called low and high."""
    return table.groupby(x, as_index=False).agg(low=(low, "min"), high=(high, "max"))


def dots(
    ax: Axes, place: float, values: pd.Series, *, color: Any, label: str, width: float
) -> None:
    """A dot a behaviour around a place, and their median as a bar.

    Args:
        width: how far the dots are strewn; by their order, so that they are where they were when
            drawn again.
    """
    values = values.dropna()
    # multiples of the golden ratio fill a strip evenly in any number
    strewn = place + width * (np.arange(len(values)) * (math.sqrt(5) - 1) / 2 % 1 - 0.5)
    alpha = float(np.clip(20 / max(len(values), 1), 0.35, 0.8))
    ax.plot(strewn, values, "o", ms=1.8, mew=0, alpha=alpha, color=color)
    if len(values):
        ends = [place - width / 2, place + width / 2]
        ax.plot(ends, [values.median()] * 2, color=color, lw=1.8, label=label)


class Rows(NamedTuple):
    """A part of the behaviours' rows, and the panels that these stand in.

    Attributes:
        names: the behaviours, from above.
        axes: a panel for each of what is shown of them.
    """

    names: list[str]
    axes: list[Axes]


def rows_of(names: Sequence[str], across: int, *, rest: float) -> tuple[Figure, list[Rows]]:
    """Panels with a row a behaviour, its name before it; many rows stand in several columns.

    All panels of one kind have one scale.

    Args:
        across: panels beside each other for each row.
        rest: inches of what stands above and below all rows.
    """
    groups = min(GROUPS, math.ceil(len(names) / ROWS))
    rows = math.ceil(len(names) / groups)
    size = min(1.0, ROWS / rows)
    figure, axes = plt.subplots(
        1,
        groups * across,
        figsize=(COLUMN if groups == 1 else PAGE, ROW * rows * size + rest),
        squeeze=False,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.02, wspace=0.01)  # type: ignore[union-attr, call-arg]
    found = []
    for group in range(groups):
        here = slice(group * rows, (group + 1) * rows)
        own = list(axes[0, group * across : (group + 1) * across])
        for number, ax in enumerate(own):
            if group:
                ax.sharex(axes[0, number])
            ax.set_ylim(rows - 0.5, -0.5)
            ax.set_yticks([])
            ax.tick_params(axis="x", labelsize=LETTERS)
        texts = [shortened(name, LONGEST) for name in names[here]]
        own[0].set_yticks(range(len(texts)), texts, fontsize=LETTERS * size)
        own[0].tick_params(axis="y", length=0, pad=1)
        found.append(Rows(list(names[here]), own))
    return figure, found
