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
    CONTROL_LOOKS,
    band,
    control_area,
    counts,
    dagger,
    flag_marks,
    largest,
    legend,
    shown,
    titles,
    words,
)
from steerpaper.steering.conditions import BEHAVIOR, KINDS, kind_of


def change_of(table: pd.DataFrame) -> str:
    """What an axis of changes is called."""
    _, title, unit = words(table)
    return f"change of {title} ({unit})"


def _grid(
    table: pd.DataFrame,
    height: float,
    rest: float = 0.6,
    *,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A row of panels a behaviour, a column a contrast.

    Args:
        height, rest: inches of a row of panels, and of what stands above and below them all.
        sharex, sharey: whether the panels have one scale.
    """
    behaviors, contrasts = (list(table[key].unique()) for key in ("behavior", "contrast"))
    figure, grid = plt.subplots(
        len(behaviors),
        len(contrasts),
        # beside one row of panels the axis' name is longer than they are high
        figsize=(COLUMN, max(height * len(behaviors) + rest, 2.4)),
        squeeze=False,
        sharex=sharex,
        sharey=sharey,
        layout="constrained",
    )
    return figure, {
        (behavior, contrast): grid[row, column]
        for row, behavior in enumerate(behaviors)
        for column, contrast in enumerate(contrasts)
    }


def _of(table: pd.DataFrame, panel: tuple[str, str]) -> pd.DataFrame:
    """The rows of a panel's behaviour and contrast."""
    return table[(table["behavior"] == panel[0]) & (table["contrast"] == panel[1])]


def layer_sweep(
    table: pd.DataFrame, steerability: pd.DataFrame, first_order: pd.DataFrame
) -> Figure:
    """Mean steerability slope on dev by block, beside what controls do there to first order.

    Args:
        table: behavior, contrast, layer, direction, n, slope, low, high.
        steerability: behavior, contrast, layer (reported on test), stands_out.
        first_order: behavior, contrast, split, layer, slope, and the controls' bands.
    """
    figure, panels = _grid(table, 1.05, sharex=True)
    comparable = words(table)[0] == "logit_diff"
    for panel, ax in panels.items():
        here, chosen = _of(table, panel), _of(steerability, panel).iloc[0]
        ax.axhline(0, color="0.8", lw=0.6)
        if comparable:
            dev = _of(first_order, panel)
            dev = dev[dev["split"] == "dev"].sort_values("layer")
            for kind, look in CONTROL_LOOKS.items():
                low, high = dev[f"{kind}_low"], dev[f"{kind}_high"]
                ax.fill_between(dev["layer"], low, high, lw=0, label=kind, **look)
            ax.plot(dev["layer"], dev["slope"], color=COLOURS[0], lw=0.6, label="first order")
        band(ax, here, "layer", "slope", "low", "high", color=COLOURS[0], label="measured")
        ax.axvline(chosen["layer"], color="0.6", lw=0.6, ls=":")
        out = "\nno block stands out" if str(chosen["stands_out"]) == "False" else ""
        ax.set_title(f"{panel[0]}, {panel[1]}{dagger(here)} ({counts(here)}){out}", fontsize=6)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    titles(
        figure,
        x="block steered (dotted: chosen)",
        y=f"steerability slope ({words(table)[2]} per unit multiplier)",
    )
    legend(figure, list(panels.values()), 4, last="measured")
    flag_marks(figure, table)
    return figure


def dose_response(table: pd.DataFrame) -> Figure:
    """Change of the mean score on test by multiplier, at the chosen block, and the controls' band.

    Args:
        table: behavior, contrast, layers, direction, multiplier, n, change, change_low,
            change_high; of a kind of control between what one more direction's change would lie.
    """
    figure, panels = _grid(table, 1.05, sharex=True)
    for panel, ax in panels.items():
        here = _of(table, panel)
        ax.axhline(0, color="0.8", lw=0.6)
        for kind, look in CONTROL_LOOKS.items():
            controls = here[here["direction"] == kind]
            if len(controls):
                ends = ["multiplier", "change_low", "change_high"]
                control_area(ax, controls[ends], label=kind, **look)
        own = here[here["direction"] == BEHAVIOR]
        columns = ("multiplier", "change", "change_low", "change_high")
        band(ax, own, *columns, color=COLOURS[0], label="vector")
        label = own["layers"].iloc[-1]
        ax.set_title(
            f"{panel[0]}, {panel[1]}{dagger(own)} ({counts(own)})\nblock {label}", fontsize=6
        )
    titles(figure, x="multiplier", y=change_of(table))
    legend(figure, list(panels.values()), 3, last="vector")
    flag_marks(figure, table)
    return figure


def heatmap(table: pd.DataFrame, first_order: pd.DataFrame) -> Figure:
    """Change of the mean score on dev for every block × multiplier; dots: within the controls.

    Args:
        table: behavior, contrast, layer, direction, multiplier, n, change, flags; the behaviour's
            rows are drawn, a row of panels a behaviour, a column a contrast.
        first_order: behavior, contrast, split, layer and the controls' bands; a dot marks a change
            that they would make as well.
    """
    comparable = words(table)[0] == "logit_diff"
    table = table[table["direction"] == BEHAVIOR]
    figure, panels = _grid(table, 1.25, 0.5, sharex=True, sharey=True)
    # one scale for all: an effect that is nothing beside another's must look like nothing
    limit = largest(table["change"])
    norm = TwoSlopeNorm(0, -limit, limit)
    for panel, ax in panels.items():
        here = _of(table, panel)
        cells = here.pivot(index="layer", columns="multiplier", values="change")
        cells = cells.sort_index(ascending=False).rename(columns="{:g}".format)
        dots = _within(cells, _of(first_order, panel)) if comparable else False
        sns.heatmap(
            cells, ax=ax, cmap="RdBu_r", norm=norm, cbar=False, annot=dots, fmt="", linewidths=0
        )
        ax.set_title(f"{panel[0]}, {panel[1]}{dagger(here)} ({counts(here)})")
        place = ax.get_subplotspec()
        assert place is not None
        ax.set_ylabel("block" if place.is_first_col() else "")
        ax.set_xlabel("multiplier" if place.is_last_row() else "")
        ax.tick_params(axis="y", rotation=0)
    figure.colorbar(
        ScalarMappable(norm, "RdBu_r"),
        ax=list(panels.values()),
        label=change_of(table),
        location="bottom",
        aspect=40,
        shrink=0.8,
    )
    flag_marks(figure, table)
    return figure


def _within(cells: pd.DataFrame, first_order: pd.DataFrame) -> pd.DataFrame:
    """A dot for every change that lies in the controls' band at its block and multiplier.

    Args:
        cells: changes, block × multiplier (as text).
    """
    dev = first_order[first_order["split"] == "dev"].set_index("layer")
    widest = dev[[f"{kind}_{end}" for kind in KINDS for end in ("low", "high")]].abs().max(axis=1)
    reach = np.outer(widest.reindex(cells.index), np.abs(cells.columns.astype(float)))
    return pd.DataFrame(np.where(np.abs(cells) <= reach, "·", ""), cells.index, cells.columns)


def steerability(items: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Distribution of the items' steerability slopes, the anti-steerable share marked.

    Args:
        items: behavior, contrast, direction, prompt_id, slope; a row of panels a behaviour, a
            column a contrast.
        table: behavior, contrast, direction, n, anti_steerable, anti_low, anti_high.
    """
    figure, panels = _grid(items, 1.0)
    for panel, ax in panels.items():
        here, row = _of(items, panel), _of(table, panel)
        row = row[row["direction"] == BEHAVIOR]
        _slope_histogram(ax, here)
        n, share, low, high = row.iloc[0][["n", "anti_steerable", "anti_low", "anti_high"]]
        ax.set_title(
            f"{panel[0]}, {panel[1]}{dagger(row)} (n = {n})\nanti-steerable "
            f"{shown(share, '.0%')} [{shown(low, '.0%')}, {shown(high, '.0%')}]",
            fontsize=6,
        )
    unit = words(items)[2]
    titles(
        figure, x=f"steerability slope of an item ({unit} per unit multiplier)", y="share of items"
    )
    legend(figure, list(panels.values()), 4)
    flag_marks(figure, table)
    return figure


def _slope_histogram(ax: Axes, items: pd.DataFrame) -> None:
    """Slopes of the behaviour's direction, those of either sign apart, and of controls."""
    items = items[np.isfinite(items["slope"])]
    own = items[items["direction"] == BEHAVIOR]["slope"]
    kinds = items["direction"].map(kind_of)
    controls = {kind: items[kinds == kind]["slope"] for kind in KINDS}
    shown = pd.concat([own, *controls.values()])
    # 0 is an edge, so that no bar holds both signs
    step = largest(shown, 1e-8) / 10
    ends = shown if len(shown) else [0.0, 1e-8]
    lowest, highest = np.floor(min(ends) / step), np.ceil(max(ends) / step)
    edges = [step * edge for edge in np.arange(lowest, highest + 1)]
    for slopes, colour, label in (
        (own[own >= 0], COLOURS[0], "steerable"),
        (own[own < 0], COLOURS[3], "anti-steerable"),
    ):
        share = np.full(len(slopes), 1 / max(len(own), 1))
        ax.hist(slopes, edges, weights=share, color=colour, label=label)
    for kind, slopes in controls.items():
        if len(slopes):
            share = np.full(len(slopes), 1 / len(slopes))
            look = {"color": CONTROL_LOOKS[kind]["color"], "lw": 0.8, "label": kind}
            ax.hist(slopes, edges, weights=share, histtype="step", **look)
    ax.axvline(0, color="0.2", lw=0.6)
