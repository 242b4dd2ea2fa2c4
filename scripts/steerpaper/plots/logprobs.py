"""Figures of fixed completions, of transfer between blocks, and of the estimators."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.style import COLUMN, GREY, colours, panels

BEHAVIOR = "behavior"
LABELS = ("matching", "other", "neither")


def _line(ax: Axes, table: pd.DataFrame, label: str, colour: object, style: str = "-") -> None:
    """Change by multiplier; the band is missing where there is no interval."""
    table = table.sort_values("multiplier")
    x = table["multiplier"]
    ax.plot(x, table["change"], color=colour, ls=style, marker="o", label=label)
    ax.fill_between(x, table["low"], table["high"], color=colour, alpha=0.2, lw=0)


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
    palette = colours(LABELS)
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
        counts = []
        for label in LABELS:
            one = here[(here["label"] == label) & (here["direction"] == BEHAVIOR)]
            counts.append(str(one["n"].iloc[0]))
            style = "--" if label == "neither" else "-"
            _line(left, one, label, GREY if label == "neither" else palette[label], style)
        difference = here[here["label"] == "difference"]
        for direction, one in difference.groupby("direction", sort=True):
            steered = direction == BEHAVIOR
            # one entry in the legend for all random directions
            label = "vector" if steered else "random" if direction == "random-0" else ""
            _line(right, one, label, "black" if steered else GREY, "-" if steered else ":")
        empty = [label for label in LABELS[:2] if (here[here["label"] == label]["n"] == 0).all()]
        if empty:
            right.text(
                *(0.5, 0.5),
                f"n = 0: no completion\nlabelled {' or '.join(empty)}",
                ha="center",
                va="center",
                transform=right.transAxes,
            )
            right.set_yticks([])
        behavior, contrast, layers = name
        left.set_title(f"{behavior}, {contrast} (n = {', '.join(counts)})", fontsize=6.5)
        right.set_title(f"block {layers}, difference", fontsize=6.5)
        for ax in (left,) if empty else (left, right):
            ax.axhline(0, color="0.8", lw=0.6, zorder=0)
            ax.axvline(0, color="0.8", lw=0.6, zorder=0)
    figure.supxlabel("multiplier (n: matching, other, neither completions)", fontsize=7)
    figure.supylabel("change of completions' log-probability (nats)", fontsize=7)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    for ax in grid[:, 1]:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    figure.legend(handles, labels, loc="outside upper center", ncols=5, columnspacing=1)
    return figure


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
    limit = max(float(table["slope"].abs().max()), 1e-6)
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
            cbar_kws={"label": "slope (nats/unit)"},
        )
        unsure = ((low <= 0) & (high >= 0)).to_numpy().ravel()
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
        error = np.abs(one[["low", "high"]].to_numpy().T - one["slope"].to_numpy())
        label = name.replace("_", " ").replace("-0", "")
        upper.errorbar(
            x,
            one["slope"],
            yerr=error,
            fmt="o",
            ms=3.5,
            color=palette[name],
            capsize=2,
            label=label,
        )
    upper.axhline(0, color="0.8", lw=0.6, zorder=0)
    blocks = table.drop_duplicates("behavior").set_index("behavior")["layers"]
    counts = table.drop_duplicates("behavior").set_index("behavior")["n"]
    upper.set_xticks(
        range(len(behaviors)),
        [f"{name}\nblock {blocks[name]}, n = {counts[name]}" for name in behaviors],
    )
    upper.set_xlim(-0.5, len(behaviors) - 0.5)
    upper.set_ylabel("slope (nats per unit)")
    upper.set_title(f"steering with each estimator's vector ({contrast})")
    styles = ["-", "--", ":", "-."]
    for number, behavior in enumerate(behaviors):
        here = cosines[(cosines["behavior"] == behavior) & (cosines["contrast"] == contrast)]
        for name, one in here.groupby("estimator", sort=False):
            style = styles[number % len(styles)]
            lower.plot(one["layer"], one["cosine"], color=palette[name], ls=style)
        lower.plot([], [], color=GREY, ls=styles[number % len(styles)], label=behavior)
    lower.set(xlabel="block", ylabel="cosine", ylim=(min(0, cosines["cosine"].min()) - 0.02, 1.02))
    lower.set_title("similarity to the mean difference (colours as above)")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    lower.legend(loc="lower right")
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1)
    return figure
