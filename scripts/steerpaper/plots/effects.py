"""Figures of steering's effect: by block, by multiplier, by both, and item by item."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.style import (
    COLOURS,
    COLUMN,
    GREY,
    band,
    colours,
    counts,
    largest,
    legend,
    panels,
    shown,
    titles,
    words,
)
from steerpaper.steering.conditions import BEHAVIOR


def change_of(table: pd.DataFrame) -> str:
    """What an axis of changes is called."""
    _, title, unit = words(table)
    return f"change of {title} ({unit})"


def _random(axes: Axes, table: pd.DataFrame, x: str, y: str, low: str, high: str) -> None:
    """The random directions of the leading contrast, each with its interval, in grey."""
    contrast = table["contrast"].iloc[0]
    random = table[(table["contrast"] == contrast) & (table["direction"] != BEHAVIOR)]
    for number, (_, one) in enumerate(random.groupby("direction", sort=True)):
        label = "" if number else f"random ({contrast})"
        band(axes, one, x, y, low, high, color=GREY, label=label, ls="--")


def layer_sweep(table: pd.DataFrame, chosen: pd.DataFrame) -> Figure:
    """Mean steerability slope on dev by block, per behaviour and contrast, with random control.

    Args:
        table: behavior, contrast, layer, direction, n, slope, low, high.
        chosen: behavior, contrast, layer: the block that is reported on test.
    """
    behaviors = list(table["behavior"].unique())
    palette = colours(list(table["contrast"].unique()))
    figure, axes = panels(behaviors, sharex=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        ax.axhline(0, color="0.8", lw=0.6)
        _random(ax, here, "layer", "slope", "low", "high")
        for contrast, colour in palette.items():
            steered = here[(here["contrast"] == contrast) & (here["direction"] == BEHAVIOR)]
            band(ax, steered, "layer", "slope", "low", "high", color=colour, label=contrast)
        block = chosen[chosen["behavior"] == behavior]["layer"].iloc[0]
        ax.axvline(block, color="0.6", lw=0.6, ls=":")
        ax.set_title(f"{behavior} ({counts(here)})")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    titles(
        figure,
        x="block steered (dotted: chosen)",
        y=f"steerability slope ({words(table)[2]} per unit multiplier)",
    )
    legend(figure, axes[:1], 3, last="random")
    return figure


def dose_response(table: pd.DataFrame) -> Figure:
    """Change of the mean logit difference on test by multiplier, at the chosen block.

    Args:
        table: behavior, contrast, layer, direction, multiplier, n, change, change_low, change_high.
    """
    behaviors = list(table["behavior"].unique())
    palette = colours(list(table["contrast"].unique()))
    figure, axes = panels(behaviors, sharex=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        ax.axhline(0, color="0.8", lw=0.6)
        _random(ax, here, "multiplier", "change", "change_low", "change_high")
        for contrast, colour in palette.items():
            steered = here[(here["contrast"] == contrast) & (here["direction"] == BEHAVIOR)]
            band(
                ax,
                steered,
                "multiplier",
                "change",
                "change_low",
                "change_high",
                color=colour,
                label=contrast,
            )
        # in the order of the contrasts, which may have been given different blocks
        blocks = here[here["direction"] == BEHAVIOR].drop_duplicates("contrast")["layers"]
        label = " / ".join(map(str, blocks.unique()))
        ax.set_title(f"{behavior} ({counts(here)})\nblock {label}")
    titles(figure, x="multiplier", y=change_of(table))
    legend(figure, axes[:1], 3, last="random")
    return figure


def heatmap(table: pd.DataFrame) -> Figure:
    """Change of the mean logit difference on dev for every block × multiplier.

    Args:
        table: behavior, contrast, layer, direction, multiplier, n, change; the behaviour's rows
            are drawn, a row of panels a behaviour, a column a contrast.
    """
    table = table[table["direction"] == BEHAVIOR]
    behaviors, contrasts = (list(table[key].unique()) for key in ("behavior", "contrast"))
    figure, grid = plt.subplots(
        len(behaviors),
        len(contrasts),
        figsize=(COLUMN, 1.25 * len(behaviors) + 0.5),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    # one scale for all: an effect that is nothing beside another's must look like nothing
    limit = largest(table["change"])
    norm = TwoSlopeNorm(0, -limit, limit)
    for row, behavior in enumerate(behaviors):
        for column, contrast in enumerate(contrasts):
            here = table[(table["behavior"] == behavior) & (table["contrast"] == contrast)]
            ax = grid[row, column]
            cells = here.pivot(index="layer", columns="multiplier", values="change")
            cells = cells.sort_index(ascending=False).rename(columns="{:g}".format)
            sns.heatmap(cells, ax=ax, cmap="RdBu_r", norm=norm, cbar=False)
            ax.set_title(f"{behavior}, {contrast} ({counts(here)})")
            ax.set_ylabel("block" if column == 0 else "")
            ax.set_xlabel("multiplier" if row == len(behaviors) - 1 else "")
            ax.tick_params(axis="y", rotation=0)
    figure.colorbar(
        ScalarMappable(norm, "RdBu_r"),
        ax=grid,
        label=change_of(table),
        location="bottom",
        aspect=40,
        shrink=0.8,
    )
    return figure


def steerability(items: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Distribution of the items' steerability slopes, the anti-steerable share marked.

    Args:
        items: behavior, contrast, direction, prompt_id, slope; a row of panels a behaviour, a
            column a contrast.
        table: behavior, contrast, direction, n, anti_steerable, anti_low, anti_high.
    """
    behaviors, contrasts = (list(items[key].unique()) for key in ("behavior", "contrast"))
    figure, grid = plt.subplots(
        len(behaviors),
        len(contrasts),
        figsize=(COLUMN, 1.0 * len(behaviors) + 0.6),
        squeeze=False,
        layout="constrained",
    )
    for axes, behavior in zip(grid, behaviors, strict=True):
        for ax, contrast in zip(axes, contrasts, strict=True):
            here, row = (
                one[(one["behavior"] == behavior) & (one["contrast"] == contrast)]
                for one in (items, table)
            )
            row = row[row["direction"] == BEHAVIOR].iloc[0]
            _slope_histogram(ax, here)
            ax.set_title(
                f"{behavior}, {contrast} (n = {row['n']})\nanti-steerable "
                f"{shown(row['anti_steerable'], '.0%')} "
                f"[{shown(row['anti_low'], '.0%')}, {shown(row['anti_high'], '.0%')}]",
                fontsize=6,
            )
    unit = words(items)[2]
    titles(
        figure, x=f"steerability slope of an item ({unit} per unit multiplier)", y="share of items"
    )
    legend(figure, list(grid.flat), 3)
    return figure


def _slope_histogram(ax: Axes, items: pd.DataFrame) -> None:
    """Slopes of the behaviour's direction, those of either sign apart, and of random directions."""
    items = items[np.isfinite(items["slope"])]
    own = items[items["direction"] == BEHAVIOR]["slope"]
    random = items[items["direction"] != BEHAVIOR]["slope"]
    # 0 is an edge, so that no bar holds both signs
    step = largest(items["slope"], 1e-8) / 10
    ends = items["slope"] if len(items) else [0.0, 1e-8]
    lowest, highest = np.floor(min(ends) / step), np.ceil(max(ends) / step)
    edges = [step * edge for edge in np.arange(lowest, highest + 1)]
    for slopes, colour, label in (
        (own[own >= 0], COLOURS[0], "steerable"),
        (own[own < 0], COLOURS[3], "anti-steerable"),
    ):
        share = np.full(len(slopes), 1 / max(len(own), 1))
        ax.hist(slopes, edges, weights=share, color=colour, label=label)
    if len(random):
        share = np.full(len(random), 1 / len(random))
        ax.hist(random, edges, weights=share, histtype="step", color="0.3", lw=0.8, label="random")
    ax.axvline(0, color="0.2", lw=0.6)
