"""Figures of heads: how they drive neurons, their explanations, their ablations."""

import math
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.neurons import KINDS
from steerpaper.plots.style import (
    COLUMN,
    GREY,
    colours,
    counts,
    dagger,
    flag_marks,
    largest,
    legend,
    note,
    panels,
    shown,
    titles,
)
from steerpaper.shown import shortened

LONGEST = 20  # characters of a token above a panel


def head_attribution(table: pd.DataFrame) -> Figure:
    """How often each head is active, by kind of neurons; mean attributions of single neurons.

    At most three single neurons are drawn, those of the last blocks.

    Args:
        table: neurons ("all <kind>", or a single neuron's name), head_layer, head, n, attribution,
            active.
    """
    names = list(table["neurons"].unique())
    single = [name for name in names if not name.startswith("all ")][-3:]
    rows = [[name for name in names if name.startswith("all ")], single]
    rows = [row for row in rows if row]
    figure = plt.figure(figsize=(COLUMN, 2.5 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        axes = part.subplots(1, len(row), sharey=True, squeeze=False)[0]
        for ax, name in zip(axes, row, strict=True):
            here = table[table["neurons"] == name]
            value = "attribution" if name in single else "active"
            cells = here.pivot(index="head_layer", columns="head", values=value)
            # a head of a late block comes before some of the neurons only
            title = f"{_short(name)}\n{counts(here)}"
            if name in single:
                # neurons differ in size: each is drawn relative to its own largest head
                most = largest(cells, 1e-12)
                cells /= most
                look = {"cmap": "RdBu_r", "norm": TwoSlopeNorm(0, -1, 1)}
                neuron, _, token = name.partition(" (")
                token = " ".join(token.split()).removesuffix(")")
                title = f"{neuron}\n({shortened(token, LONGEST)})\nlargest {most:.2g}"
            else:
                cells *= 100
                most = largest(table[table["neurons"].isin(row)]["active"], 0.01)
                look = {"cmap": "Greys", "vmin": 0, "vmax": 100 * most}
            image = ax.pcolormesh(
                cells.columns.to_numpy(), cells.index.to_numpy(), cells, rasterized=True, **look
            )
            ax.set_title(title)
            ax.set_xlabel("head")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set_ylabel("block of the head")
        label = "active (% of prompts)"
        if row == single:
            label = f"mean attribution / largest ({counts(table[table['neurons'].isin(row)])})"
        part.colorbar(image, ax=axes, label=label, shrink=0.8, pad=0.02)
    return figure


def _short(name: str) -> str:
    return name.replace("all next_token", "next-token neurons").replace(
        "all random", "random neurons"
    )


def explanation_scores(table: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Distribution of head explanation scores, next-token against random neurons.

    Args:
        table: kind, score (missing where a head was left out).
        summary: neurons, heads, scored, neuron_mean, low, high, flags.
    """
    figure, axes = panels(list(KINDS), columns=1, height=0.95, sharex=True, sharey=True)
    palette = colours(list(KINDS))
    of_kind = {row["neurons"]: row for row in summary.to_dict("records")}
    for ax, (kind, name) in zip(axes, KINDS.items(), strict=True):
        scores = table[table["kind"] == kind]["score"].dropna()
        row = of_kind[kind]
        scored = f"{int(row['scored'])} of {int(row['heads'])} heads have a score"
        ax.set_title(f"{name}: {scored}{dagger(pd.DataFrame([row]))}")
        ax.axvline(0.5, color=GREY, lw=0.8, ls="--", label="chance")
        ax.set_ylabel("heads")
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        if scores.empty:
            note(ax, "no head has both classes", color=GREY)
            continue
        ax.hist(scores, bins=20, range=(0, 1), color=palette[kind], alpha=0.6)
        top = ax.get_ylim()[1]
        ax.errorbar(
            row["neuron_mean"],
            top * 1.1,
            xerr=[[row["neuron_mean"] - row["low"]], [row["high"] - row["neuron_mean"]]],
            color="black",
            marker="o",
            capsize=2,
            label="mean over neurons, with interval",
        )
    legend(figure, axes[:1], 2)
    axes[-1].set_xlabel("head explanation score, (TPR + TNR) / 2")
    flag_marks(figure, summary)
    return figure


def ablations(table: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Drop of the token's log-probability when heads or neurons are ablated, active and inactive.

    Args:
        table: ablated, kind, active, logprob (drop, nats).
        summary: ablated, neurons, measure, n_active, n_inactive, units, difference_mean,
            difference_low, difference_high, flags.
    """
    figure, grid = panels(["head", "neuron"], columns=1, height=1.8)
    palette = {"active": colours(["a"])["a"], "inactive": "0.8"}
    tests = {
        (row["ablated"], row["neurons"]): row
        for row in summary[summary["measure"] == "logprob"].to_dict("records")
    }
    for ax, ablated in zip(grid, ("head", "neuron"), strict=True):
        here = table[table["ablated"] == ablated]
        here = here.assign(
            prompts=here["active"].map({True: "active", False: "inactive"}),
            kind=here["kind"].map(KINDS),
        )
        ax.axhline(0, color="0.8", lw=0.6)
        ax.set_title(f"{ablated} ablated{dagger(summary[summary['ablated'] == ablated])}")
        if here.empty:
            note(ax, "nothing to ablate", color=GREY)
            continue
        sns.boxplot(
            here,
            x="kind",
            y="logprob",
            hue="prompts",
            order=list(KINDS.values()),
            hue_order=list(palette),
            palette=palette,
            ax=ax,
            whis=(5, 95),
            showfliers=False,
            linewidth=0.6,
            legend=ablated == "head",
        )
        if legend := ax.get_legend():
            handles, names = ax.get_legend_handles_labels()
            legend.remove()
            names = [f"{name} prompts" for name in names]
            figure.legend(handles, names, loc="outside upper center", ncols=2)
        labels = []
        for kind, name in KINDS.items():
            test = tests[ablated, kind]
            labels.append(
                f"{name}\nn = {int(test['n_active'])} active, {int(test['n_inactive'])} inactive\n"
                + _difference(test)
            )
        ax.set_xticks(range(len(labels)), labels)
        ax.set_xlabel("")
        ax.set_ylabel("drop of log-probability\n(nats)")
    titles(figure, x="boxes: quartiles; whiskers: 5th to 95th percentile")
    flag_marks(figure, summary)
    return figure


def _difference(row: Mapping[Any, Any]) -> str:
    """The difference between active and inactive prompts, in two lines."""
    mean, low, high = (shown(row[f"difference_{part}"], ".2f") for part in ("mean", "low", "high"))
    return f"difference {mean}\n({low} to {high}, {int(row['units'])} {row['ablated']}s)"


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "< 1e-16" if value < 1e-16 else f"{value:.1g}" if value < 0.1 else f"{value:.2f}"


def published(table: pd.DataFrame) -> Figure:
    """The paper's figures and ours side by side, a panel a quantity.

    Args:
        table: quantity, neurons, model, source, n, value, sd, p.
    """
    quantities = list(table["quantity"].unique())
    sizes = [(table["quantity"] == quantity).sum() for quantity in quantities]
    figure, axes = plt.subplots(
        len(quantities),
        1,
        figsize=(COLUMN, 0.17 * sum(sizes) + 0.45 * len(sizes)),
        height_ratios=sizes,
        squeeze=False,
        layout="constrained",
    )
    shades = {"ours": colours(["ours"])["ours"], "published": "0.6"}
    for ax, quantity in zip(axes[:, 0], quantities, strict=True):
        here = table[table["quantity"] == quantity].iloc[::-1]
        names = here["model"] + ", " + here["neurons"].str.replace("_", "-")
        ax.barh(
            names, here["value"], color=[shades[source] for source in here["source"]], height=0.7
        )
        for row, (value, p) in enumerate(zip(here["value"], here["p"], strict=True)):
            place, text = (0, "–") if pd.isna(value) else (value, f"{value:.3f}")
            text += "" if pd.isna(p) else f" (p {_p(p)})"
            ax.text(place, row, f" {text}", va="center", fontsize=6)
        ax.set_xlim(0, 1.5 * largest(here["value"]))
        ax.set_xlabel(quantity)
        ax.margins(y=0.02)
    handles = [Patch(color=colour) for colour in shades.values()]
    figure.legend(handles, list(shades), loc="outside upper center", ncols=2)
    return figure
