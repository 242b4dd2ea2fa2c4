"""Figures of vectors that are trained under one kind of prompt and used under another."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from steerpaper.plots.many import summary
from steerpaper.plots.pages import names_of
from steerpaper.plots.style import (
    CONTROL_LOOKS,
    GREY,
    colours,
    counts,
    dagger,
    flag_marks,
    largest,
    legend,
    panels,
    titles,
    words,
)

# the study's own prompts: what is trained and used under these is in distribution
BASE = "base"
TRAINED, USED = "vector trained under", "used under"


def prompt_kinds(table: pd.DataFrame, correlation: pd.DataFrame) -> Figure:
    """Mean slope by the kind of prompt that a vector is trained under and used under.

    An image a behaviour, in brackets where the interval holds 0, grey where a random direction may
    do as much; and one of the correlations over behaviours, where there are any.

    Args:
        table: behavior, trained, used, n, slope, low, high, control_low, control_high, flags.
        correlation: trained, used, n, spearman with its interval.
    """
    behaviors = names_of(table)
    correlated = bool(correlation["spearman"].notna().any())
    kinds = list(table["trained"].unique())
    size = 0.2 * len(kinds) + 0.8
    figure, axes = panels([*behaviors, *["all"] * correlated], height=size)
    limit = largest(table["slope"])
    for ax, behavior in zip(axes, behaviors, strict=False):
        here = table[table["behavior"] == behavior]
        _cells(ax, here, "slope", ("low", "high"), limit, kinds, ("control_low", "control_high"))
        known = here[here["n"] > 0]
        counted = counts(known) if len(known) else "n = 0"
        ax.set_title(f"{behavior}{dagger(here)}\n({counted})", fontsize=6.5)
    if correlated:
        _correlations(axes[-1], correlation, kinds)
    titles(figure, x=f"{USED} (colour: slope, {words(table)[2]}/unit, to ±{limit:.2g})", y=TRAINED)
    flag_marks(figure, table)
    return figure


def many_behaviors(table: pd.DataFrame, correlation: pd.DataFrame) -> Figure:
    """Slopes in distribution against slopes under other kinds, a point a behaviour.

    A panel for each kind that vectors are used under, a colour for each that they are trained
    under, and an image of the correlations. The band is the widest of the behaviours' random
    directions under the panel's kind.

    Args:
        table, correlation: as in `prompt_kinds`.
    """
    kinds = list(table["trained"].unique())
    palette = colours(kinds)
    figure, axes = panels([*kinds, "all"], height=1.9)
    cells: Any = table.pivot(index=["trained", "used"], columns="behavior", values="slope")
    inside = cells.loc[(BASE, BASE)]
    along = table["slope"].min(), table["slope"].max()
    for ax, used in zip(axes, kinds, strict=False):
        ax.axhline(0, color="0.85", lw=0.5, zorder=0)
        ax.axvline(0, color="0.85", lw=0.5, zorder=0)
        if np.isfinite(along).all():
            ax.plot(along, along, color="0.6", lw=0.6, ls=":", zorder=0)
        for number, (trained, colour) in enumerate(palette.items()):
            if trained == used == BASE:
                continue
            look: dict[str, Any] = {"marker": "os^Dv"[number], "color": colour, "alpha": 0.75}
            look["label"] = shown_kind(trained)
            ax.plot(inside, cells.loc[(trained, used)], ls="", ms=2.2, mew=0, **look)
        here = table[table["used"] == used]
        if here["control_low"].notna().any():
            ends = here["control_low"].min(), here["control_high"].max()
            ax.axhspan(*ends, lw=0, zorder=0, label="random", **CONTROL_LOOKS["random"])
        empty = "" if (here["n"] > 0).any() else ": n = 0"
        ax.set_title(f"{USED} {shown_kind(used)}{empty}{dagger(here)}", fontsize=6.5)
        ax.set_aspect("equal", adjustable="datalim")
    _correlations(axes[len(kinds)], correlation, kinds)
    unit = words(table)[2]
    titles(
        figure,
        x=f"slope in distribution, {BASE} → {BASE} ({unit}/unit)\n({summary(table)} items)",
        y=f"slope under another kind ({unit}/unit)",
    )
    # the first panel is without the study's own kind
    shown = [*axes[1 : len(kinds)], axes[0]]
    legend(figure, shown, 3, title=TRAINED, last="random", columnspacing=1, markerscale=1.6)
    flag_marks(figure, table)
    return figure


def shown_kind(kind: str) -> str:
    """A kind of prompts as text."""
    return kind.replace("_", " ")


def _correlations(ax: Axes, correlation: pd.DataFrame, kinds: list[str]) -> None:
    """Spearman's correlations over behaviours, in brackets where the interval holds 0."""
    ends = ("spearman_low", "spearman_high")
    _cells(ax, correlation, "spearman", ends, 1.0, kinds)
    ax.set_title(f"Spearman's with base → base\n({counts(correlation)})", fontsize=6.5)


def _cells(
    ax: Axes,
    table: pd.DataFrame,
    value: str,
    ends: tuple[str, str],
    limit: float,
    kinds: list[str],
    controls: tuple[str, ...] = (),
) -> None:
    """An image with a row a kind of training and a column a kind of use.

    Args:
        ends: in brackets, where these hold 0.
        controls: grey, where these hold the value.
    """
    cells, low, high, *usual = (
        table.pivot(index="trained", columns="used", values=column)
        .reindex(index=kinds, columns=kinds)
        .astype(float)
        for column in (value, *ends, *controls)
    )
    marks = [shown_kind(kind).replace(" ", "\n") for kind in kinds]
    form = ".2f" if limit <= 1 else ".1f"
    sns.heatmap(
        cells,
        ax=ax,
        cmap="RdBu_r",
        norm=TwoSlopeNorm(0, -limit, limit),
        annot=True,
        fmt=form,
        annot_kws={"size": 5},
        cbar=False,
        xticklabels=marks,
        yticklabels=marks,
    )
    there = cells.notna().to_numpy()
    unsure = ((low <= 0) & (high >= 0)).to_numpy()[there]
    as_chance = np.full(len(unsure), False)
    if usual:
        as_chance = ((cells >= usual[0]) & (cells <= usual[1])).to_numpy()[there]
    for text, bracketed, grey in zip(ax.texts, unsure, as_chance, strict=True):
        if bracketed:
            text.set_text(f"({text.get_text()})")
        if grey:
            text.set_color(GREY)
    for row, column in np.argwhere(~there):
        ax.text(column + 0.5, row + 0.5, "–", ha="center", va="center", color=GREY, size=5)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(labelsize=5, rotation=0, length=0)
    # five of them fit below half a column
    ax.tick_params(axis="x", labelsize=4.4)
