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

from steerpaper.plots.style import COLUMN, GREY, colours, largest, legend, panels, points, words


def transfer(table: pd.DataFrame) -> Figure:
    """Mean steerability slope by the block that a vector comes from and the one it is added at.

    A panel a behaviour; an outlined row is the chosen block's, and a slope whose interval holds 0
    is in brackets.

    Args:
        table: behavior, source, target, n, slope, low, high, chosen.
    """
    behaviors = list(table["behavior"].unique())
    sources = table.groupby("behavior")["source"].nunique().max()
    figure, axes = panels(behaviors, columns=1, height=0.2 * sources + 0.35)
    unit = words(table)[2]
    limit = largest(table["slope"])
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        cells, low, high = (
            here.pivot(index="source", columns="target", values=value)
            .sort_index(ascending=False)
            .sort_index(axis=1)
            for value in ("slope", "low", "high")
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
        unsure = ((low <= 0) & (high >= 0)).to_numpy()[cells.notna().to_numpy()]
        for text, bracketed in zip(ax.texts, unsure, strict=True):
            if bracketed:
                text.set_text(f"({text.get_text()})")
        for row, source in enumerate(cells.index):
            if here.loc[here["source"] == source, "chosen"].any():
                ax.add_patch(Rectangle((0, row), len(cells.columns), 1, fill=False, lw=1, ec="k"))
        ax.set_title(f"{behavior}, {here['contrast'].iloc[0]} (n = {here['n'].iloc[0]} items)")
        ax.set(xlabel="block it is added at", ylabel="vector of block")
        ax.tick_params(axis="y", rotation=0)
    return figure


def estimators(table: pd.DataFrame, cosines: pd.DataFrame) -> Figure:
    """How the estimators' vectors steer, and how like the mean difference they are.

    Args:
        table: behavior, contrast, estimator, layers, n, slope, low, high.
        cosines: behavior, contrast, layer, estimator, cosine with the mean difference.
    """
    behaviors = list(table["behavior"].unique())
    names = [name for name in table["estimator"].unique() if not name.startswith("random-")]
    palette = colours(names) | {"random-0": GREY}
    contrast = table["contrast"].iloc[0]
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(COLUMN, 3.2), layout="constrained", height_ratios=(1, 1.2)
    )
    shown = [*names, *(name for name in table["estimator"].unique() if name not in names)]
    for number, name in enumerate(shown):
        one = table[table["estimator"] == name].set_index("behavior").loc[behaviors]
        x = np.arange(len(behaviors)) + 0.15 * (number - (len(shown) - 1) / 2)
        look = {"fmt": "o", "ms": 3.5, "capsize": 2, "elinewidth": None, "color": palette[name]}
        label = name.replace("_", " ").replace("-0", "")
        points(upper, x, one, "slope", "low", "high", label=label, **look)
    upper.axhline(0, color="0.8", lw=0.6, zorder=0)
    first = table.drop_duplicates("behavior").set_index("behavior")
    upper.set_xticks(
        range(len(behaviors)),
        [f"{name}\nblock {first['layers'][name]}, n = {first['n'][name]}" for name in behaviors],
    )
    upper.set_xlim(-0.5, len(behaviors) - 0.5)
    upper.set_ylabel(f"slope ({words(table)[2]} per unit)")
    upper.set_title(f"steering with each estimator's vector ({contrast})")
    _cosines(lower, cosines[cosines["contrast"] == contrast], behaviors, palette)
    legend(figure, [upper], 4, columnspacing=1)
    return figure


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
