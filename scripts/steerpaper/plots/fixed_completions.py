"""Figures of fixed completions."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steerpaper.plots.style import (
    COLOURS,
    COLUMN,
    CONTROL_LOOKS,
    GREY,
    band,
    colours,
    control_area,
    dagger,
    flag_marks,
    legend,
    note,
    titles,
)
from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.steering.labels import LABELS


def logprob_shift(table: pd.DataFrame) -> Figure:
    """Change of the log-probability of fixed completions by multiplier.

    A row of panels a behaviour, contrast, form and set of blocks: on the left the mean over the
    completions of each label, on the right matching's less other's, and for letters A's less B's,
    beside the band of random directions.

    Args:
        table: behavior, contrast, form, direction, layers, multiplier, label, n_prompts, n, change,
            low, high, flags.
    """
    keys = ["behavior", "contrast", "form", "layers"]
    steered = table[table["layers"] != ""]
    names = list(steered[keys].drop_duplicates().itertuples(index=False, name=None))
    figure, grid = plt.subplots(
        len(names),
        2,
        figsize=(COLUMN, 1.3 * len(names) + 0.6),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for (left, right), name in zip(grid, names, strict=True):
        here = steered[(steered[keys] == name).all(axis=1)]
        counted = _labels(left, here)
        empty = _difference(right, here)
        behavior, contrast, form, layers = name
        asked = f", {form}" if contrast == "letters" else ""
        left.set_title(f"{behavior}, {contrast}{asked}\n(n = {counted})", fontsize=6.5)
        prompts = here[here["label"] == "difference"]["n_prompts"].iloc[0]
        right.set_title(
            f"block {layers}, difference{dagger(here)}\n({prompts} prompts)", fontsize=6.5
        )
        for ax in (left,) if empty else (left, right):
            ax.axhline(0, color="0.8", lw=0.6, zorder=0)
            ax.axvline(0, color="0.8", lw=0.6, zorder=0)
    titles(
        figure,
        x="multiplier (n: matching, other, neither completions)",
        y="change of completions' log-probability (nats)",
    )
    legend(figure, [grid[0, 0], *grid[:, 1]], 4, columnspacing=1)
    flag_marks(figure, steered)
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
    """Matching's change less other's, and the random directions' band; whether it is empty."""
    difference = table[table["label"] == "difference"]
    controls = difference[difference["direction"] == "random"]
    if len(controls):
        controls = controls[["multiplier", "low", "high"]]
        control_area(ax, controls, label="random", **CONTROL_LOOKS["random"])
    own = difference[difference["direction"] == BEHAVIOR]
    _line(ax, own, "matching − other", "black", "-")
    letters = table[(table["label"] == "A − B") & (table["direction"] == BEHAVIOR)]
    if len(letters):
        _line(ax, letters, "A − B", COLOURS[4], ":")
    missing = [label for label in LABELS[:2] if (table[table["label"] == label]["n"] == 0).all()]
    if missing:
        note(ax, f"n = 0: no completion\nlabelled {' or '.join(missing)}")
        ax.set_yticks([])
    return bool(missing)
