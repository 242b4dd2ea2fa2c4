"""Figures of what a vector depends on: the block that it comes from, and the estimator."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.style import (
    COLUMN,
    GREY,
    colours,
    dagger,
    flag_marks,
    largest,
    legend,
    panels,
    points,
    words,
)

# how an estimator's point is drawn, by the block where its vector is added
FILLED = {"own": None, "chosen": "white"}
WHERE = {"own": "its own", "chosen": "the chosen"}


def transfer(table: pd.DataFrame) -> Figure:
    """Mean steerability slope by the block that a vector comes from and the one it is added at.

    A panel a behaviour; an outlined row is the chosen block's, a slope whose interval holds 0 is in
    brackets, and one that a random direction may have is grey.

    Args:
        table: behavior, source, target, n, slope, low, high, control_low, control_high, chosen,
            flags.
    """
    behaviors = list(table["behavior"].unique())
    sources = table.groupby("behavior")["source"].nunique().max()
    figure, axes = panels(behaviors, columns=1, height=0.2 * sources + 0.35)
    unit = words(table)[2]
    limit = largest(table["slope"])
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        cells, low, high, control_low, control_high = (
            here.pivot(index="source", columns="target", values=value)
            .sort_index(ascending=False)
            .sort_index(axis=1)
            for value in ("slope", "low", "high", "control_low", "control_high")
        )
        sns.heatmap(
            cells,
            ax=ax,
            cmap="RdBu_r",
            norm=TwoSlopeNorm(0, -limit, limit),
            annot=True,
            fmt=".1f",
            annot_kws={"size": 6},
            cbar_kws={"label": f"slope ({unit}/unit)"},
        )
        # an empty cell has no text
        there = cells.notna().to_numpy()
        unsure = ((low <= 0) & (high >= 0)).to_numpy()[there]
        usual = ((cells >= control_low) & (cells <= control_high)).to_numpy()[there]
        for text, bracketed, grey in zip(ax.texts, unsure, usual, strict=True):
            if bracketed:
                text.set_text(f"({text.get_text()})")
            if grey:
                text.set_color(GREY)
        for row, source in enumerate(cells.index):
            if here.loc[here["source"] == source, "chosen"].any():
                ax.add_patch(Rectangle((0, row), len(cells.columns), 1, fill=False, lw=1, ec="k"))
        name = f"{behavior}, {here['contrast'].iloc[0]}{dagger(here)}"
        ax.set_title(f"{name} (n = {here['n'].iloc[0]} items)")
        ax.set(xlabel="block it is added at", ylabel="vector of block")
        ax.tick_params(axis="y", rotation=0)
    flag_marks(figure, table)
    return figure


def estimators(table: pd.DataFrame, cosines: pd.DataFrame) -> Figure:
    """How the estimators' vectors steer, and how like the mean difference they are.

    Args:
        table: behavior, contrast, estimator, at, layers, n, slope, low, high, control_low,
            control_high, flags.
        cosines: behavior, contrast, layer, estimator, cosine with the mean difference.
    """
    behaviors = list(table["behavior"].unique())
    palette = colours(list(table["estimator"].unique()))
    contrast = table["contrast"].iloc[0]
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(COLUMN, 3.4), layout="constrained", height_ratios=(1.2, 1.2)
    )
    _slopes(upper, table, behaviors, palette)
    upper.set_ylabel(f"slope ({words(table)[2]} per unit)")
    upper.set_title("steering with each estimator's vector")
    _cosines(lower, cosines[cosines["contrast"] == contrast], behaviors, palette)
    legend(figure, [upper], 3, columnspacing=1)
    flag_marks(figure, table)
    return figure


def _slopes(
    ax: Axes, table: pd.DataFrame, behaviors: list[str], palette: dict[str, object]
) -> None:
    """Slopes by behaviour, estimator and place, over the band of random directions."""
    places = [(name, at) for name in palette for at in FILLED]
    step = 0.8 / len(places)
    for number, (name, at) in enumerate(places):
        chosen = (table["estimator"] == name) & (table["at"] == at)
        one = table[chosen].set_index("behavior").loc[behaviors]
        x = np.arange(len(behaviors)) + step * (number - (len(places) - 1) / 2)
        low, high = one["control_low"], one["control_high"]
        ax.bar(x, high - low, step, bottom=low, color=GREY, alpha=0.25, lw=0)
        look = {"fmt": "o", "ms": 3.5, "capsize": 2, "elinewidth": None, "color": palette[name]}
        label = name.replace("_", " ") if at == "own" else ""
        points(ax, x, one, "slope", "low", "high", label=label, mfc=FILLED[at], **look)
        if at == "own":
            for place, block, top in zip(x, one["layers"], one["high"], strict=True):
                ax.annotate(
                    str(block),
                    (place, top),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    size=5,
                )
    for at, filling in FILLED.items():
        ax.plot([], [], "o", ms=3.5, color=GREY, mfc=filling, label=f"at {WHERE[at]} block")
    ax.fill_between([], [], color=GREY, alpha=0.25, lw=0, label="random directions")
    ax.axhline(0, color="0.8", lw=0.6, zorder=0)
    first = table[table["at"] == "chosen"].drop_duplicates("behavior").set_index("behavior")
    marks = {name: dagger(table[table["behavior"] == name]) for name in behaviors}
    ax.set_xticks(
        range(len(behaviors)),
        [
            f"{name}{marks[name]}\nchosen: block {first['layers'][name]}, n = {first['n'][name]}"
            for name in behaviors
        ],
    )
    ax.set_xlim(-0.5, len(behaviors) - 0.5)


def _cosines(
    ax: Axes, cosines: pd.DataFrame, behaviors: list[str], palette: dict[str, object]
) -> None:
    """Cosine with the mean difference by block, a line style a behaviour."""
    styles = ["-", "--", ":", "-."]
    for number, behavior in enumerate(behaviors):
        style = styles[number % len(styles)]
        here = cosines[cosines["behavior"] == behavior]
        for name, one in here.groupby("estimator", sort=False):
            ax.plot(one["layer"], one["cosine"], color=palette[str(name)], ls=style)
        ax.plot([], [], color=GREY, ls=style, label=behavior)
    ax.set(xlabel="block", ylabel="cosine", ylim=(min(0, cosines["cosine"].min()) - 0.02, 1.02))
    ax.set_title("similarity to the mean difference (colours as above)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    ax.legend(loc="lower right")
