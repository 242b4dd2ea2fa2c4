"""Figures of fixed completions."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steerpaper.plots.style import COLUMN, GREY, band, colours, legend, note, titles
from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.steering.labels import LABELS


def logprob_shift(table: pd.DataFrame) -> Figure:
    """Change of the log-probability of fixed completions by multiplier.

    A row of panels a behaviour, contrast and set of blocks: on the left the mean over the
    completions of each label, on the right matching's less other's, beside a random direction's.

    Args:
        table: behavior, contrast, direction, layers, multiplier, label, n_prompts, n, change, low,
            high.
    """
    keys = ["behavior", "contrast", "layers"]
    names = list(table[keys].drop_duplicates().itertuples(index=False, name=None))
    figure, grid = plt.subplots(
        len(names),
        2,
        figsize=(COLUMN, 1.25 * len(names) + 0.5),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for (left, right), name in zip(grid, names, strict=True):
        here = table[(table[keys] == name).all(axis=1)]
        counted = _labels(left, here)
        empty = _difference(right, here)
        behavior, contrast, layers = name
        left.set_title(f"{behavior}, {contrast} (n = {counted})", fontsize=6.5)
        right.set_title(f"block {layers}, difference", fontsize=6.5)
        for ax in (left,) if empty else (left, right):
            ax.axhline(0, color="0.8", lw=0.6, zorder=0)
            ax.axvline(0, color="0.8", lw=0.6, zorder=0)
    titles(
        figure,
        x="multiplier (n: matching, other, neither completions)",
        y="change of completions' log-probability (nats)",
    )
    legend(figure, [grid[0, 0], *grid[:, 1]], 5, columnspacing=1)
    return figure


def _line(ax: Axes, table: pd.DataFrame, label: str, colour: object, style: str) -> None:
    band(ax, table, "multiplier", "change", "low", "high", color=colour, ls=style, label=label)


def _labels(ax: Axes, table: pd.DataFrame) -> str:
    """The mean change of each label's completions; how many there are of each."""
    palette = colours(LABELS)
    counted = []
    for label in LABELS:
        one = table[(table["label"] == label) & (table["direction"] == BEHAVIOR)]
        counted.append(str(one["n"].iloc[0]))
        neither = label == "neither"
        _line(ax, one, label, GREY if neither else palette[label], "--" if neither else "-")
    return ", ".join(counted)


def _difference(ax: Axes, table: pd.DataFrame) -> bool:
    """Matching's change less other's, by direction; whether it is empty, which the panel says."""
    difference = table[table["label"] == "difference"]
    for direction, one in difference.groupby("direction", sort=True):
        steered = direction == BEHAVIOR
        # one entry in the legend for all random directions
        label = "vector" if steered else "random" if direction == "random-0" else ""
        _line(ax, one, label, "black" if steered else GREY, "-" if steered else ":")
    missing = [label for label in LABELS[:2] if (table[table["label"] == label]["n"] == 0).all()]
    if missing:
        note(ax, f"n = 0: no completion\nlabelled {' or '.join(missing)}")
        ax.set_yticks([])
    return bool(missing)
