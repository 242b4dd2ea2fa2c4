"""Figures of steering's effect: by block, by multiplier, by both."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.style import COLUMN, GREY, colours, counts, panels

BEHAVIOR = "behavior"


def _band(
    axes: Axes, table: pd.DataFrame, x: str, y: str, low: str, high: str, **look: Any
) -> None:
    """A line with its interval."""
    table = table.sort_values(x)
    (line,) = axes.plot(table[x], table[y], marker="o", **look)
    axes.fill_between(table[x], table[low], table[high], color=line.get_color(), alpha=0.2, lw=0)


def _random(axes: Axes, table: pd.DataFrame, x: str, y: str, low: str, high: str) -> None:
    """The random directions of the leading contrast, each with its interval, in grey."""
    contrast = table["contrast"].iloc[0]
    random = table[(table["contrast"] == contrast) & (table["direction"] != BEHAVIOR)]
    for number, (_, one) in enumerate(random.groupby("direction", sort=True)):
        label = "" if number else f"random ({contrast})"
        _band(axes, one, x, y, low, high, color=GREY, label=label, ls="--")


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
            _band(ax, steered, "layer", "slope", "low", "high", color=colour, label=contrast)
        block = chosen[chosen["behavior"] == behavior]["layer"].iloc[0]
        ax.axvline(block, color="0.6", lw=0.6, ls=":")
        ax.set_title(f"{behavior} ({counts(here)})")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    figure.supxlabel("block steered (dotted: chosen)", fontsize=7)
    figure.supylabel("steerability slope (nats per unit multiplier)", fontsize=7)
    _legend(figure, axes[0])
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
            _band(
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
    figure.supxlabel("multiplier", fontsize=7)
    figure.supylabel("change of logit difference (nats)", fontsize=7)
    _legend(figure, axes[0])
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = np.argsort([label.startswith("random") for label in labels], kind="stable")
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside upper center", ncols=3
    )


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
    limit = max(float(table["change"].abs().max()), 1e-6)
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
        label="change of logit difference (nats)",
        location="bottom",
        aspect=40,
        shrink=0.8,
    )
    return figure
