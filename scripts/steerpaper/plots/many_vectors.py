"""Figures of the vectors of many behaviours: cosine similarities, norms, how many items."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from steerpaper.plots.convergence import AGAINST, PLACES, apart, block_colours, labels, reference
from steerpaper.plots.many import LETTERS, LONGEST, dots, head, lines, summary, widest
from steerpaper.plots.pages import PAGE, names_of
from steerpaper.plots.style import (
    COLOURS,
    GREY,
    legend,
    note,
    panels,
    powers_of_ten,
    titles,
)
from steerpaper.shown import shortened

NAMES_ACROSS = 4  # columns of names below matrices


def cosine_behaviors(table: pd.DataFrame) -> Figure:
    """Cosine similarity of every two behaviours' vectors, like beside like; names by number below.

    Args:
        table: as `geometry.cosine_behaviors` takes it.
    """
    layers = list(table["layer"].unique())
    names = _clustered(table)
    across = max(3, math.ceil(math.sqrt(len(layers))))
    columns, lines_of_panels = min(across, len(layers)), math.ceil(len(layers) / across)
    height = lines_of_panels * (PAGE / across - 0.1)
    rows = math.ceil(len(names) / NAMES_ACROSS)
    below = rows * 0.1 + 0.1
    figure = plt.figure(figsize=(PAGE, height + 1.1 + below), layout="constrained")
    places = figure.subfigures(2, 1, squeeze=False, height_ratios=(height + 1.1, below))
    upper, lower = places[:, 0]
    grid = upper.subplots(lines_of_panels, columns, squeeze=False)
    norm = Normalize(-1, 1)
    for ax in grid.flat[len(layers) :]:
        ax.set_axis_off()
    for ax, layer in zip(grid.flat, layers, strict=False):
        here = table[table["layer"] == layer]
        cells = here.pivot(index="behavior", columns="other", values="cosine").loc[names, names]
        ends = (0.5, len(names) + 0.5)
        ax.imshow(cells, cmap="RdBu_r", norm=norm, extent=(*ends, *ends[::-1]))
        ax.set_title(f"block {layer}")
        ax.tick_params(labelsize=LETTERS)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=24 // across))
    upper.suptitle(f"{len(names)} behaviours", fontsize=7)
    upper.colorbar(
        ScalarMappable(norm, "RdBu_r"),
        ax=list(grid.flat),
        label="cosine",
        location="bottom",
        aspect=50,
        shrink=0.5,
    )
    _numbered(lower, names, rows)
    return figure


def _clustered(table: pd.DataFrame) -> list[str]:
    """The behaviours in the order of a tree of likeness: average linkage of 1 - mean cosine."""
    mean = table.groupby(["behavior", "other"])["cosine"].mean().unstack()
    # no vector, no likeness
    distance = 1 - mean.fillna(0).to_numpy()
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform((distance + distance.T) / 2), "average", optimal_ordering=True)
    return [str(name) for name in mean.index[leaves_list(tree)]]


def _numbered(figure: object, names: Sequence[str], rows: int) -> None:
    """The names with their numbers, in columns."""
    ax = figure.subplots()  # type: ignore[attr-defined]
    ax.set_axis_off()
    ax.set(xlim=(0, NAMES_ACROSS), ylim=(rows, 0))
    for number, name in enumerate(names):
        text = f"{number + 1}  {shortened(name, LONGEST)}"
        ax.text(number // rows, number % rows + 0.5, text, size=LETTERS + 0.5, va="center")


def cosine_blocks(table: pd.DataFrame) -> Figure:
    """Cosine similarity of vectors at every two blocks: median and spread over the behaviours.

    Args:
        table: as `geometry.cosine_blocks` takes it.
    """
    found = table.groupby(["layer", "other_layer"])["cosine"]
    spread = found.quantile(0.9) - found.quantile(0.1)
    figure, (left, right) = panels(["median", "spread"], height=2.0, sharex=True, sharey=True)
    shown = (
        (left, found.median(), Normalize(-1, 1), "RdBu_r", "median cosine"),
        (right, spread, Normalize(0), "viridis", "90th − 10th percentile"),
    )
    for ax, values, norm, palette, label in shown:
        image = ax.imshow(values.unstack(), cmap=palette, norm=norm, origin="lower")
        figure.colorbar(image, ax=ax, label=label, location="bottom", aspect=20)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    figure.suptitle(f"{len(names_of(table))} behaviours", fontsize=7)
    titles(figure, x="block", y="block")
    return figure


def norms(table: pd.DataFrame) -> Figure:
    """Norms of vectors by block, a line a behaviour, beside the residual stream's.

    Args:
        table: as `geometry.norms` takes it.
    """
    contrasts = list(table["contrast"].unique())
    figure, axes = panels(contrasts, height=1.9, sharex=True, sharey=True)
    for ax, contrast in zip(axes, contrasts, strict=True):
        here = table[table["contrast"] == contrast]
        lines(ax, here, "layer", "vector", color=COLOURS[0], label="vector, median")
        middle = here.groupby("layer")["residual"].median()
        ax.plot(middle, color=GREY, ls="--", label="residual stream, median")
        reach = widest(here, "layer", "residual_low", "residual_high")
        ax.fill_between(reach["layer"], reach["low"], reach["high"], color=GREY, alpha=0.2, lw=0)
        head(ax, contrast, f"{summary(here)} pairs", 30)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    powers_of_ten(axes)
    titles(figure, x="block", y="Euclidean norm")
    legend(figure, axes[:1], 2)
    return figure


def convergence(table: pd.DataFrame) -> Figure:
    """Cosine of vectors from few items with the vector from all, a panel a block.

    Args:
        table: as `convergence.convergence` takes it.
    """
    table = table[table["what"] == "curve"]
    palette = block_colours(table)
    figure, axes = panels(list(palette), height=1.6, sharex=True, sharey=True)
    for ax, (layer, colour) in zip(axes, palette.items(), strict=True):
        here = table[table["layer"] == layer]
        for against, (label, ls) in AGAINST.items():
            one = here[here["against"] == against]
            lines(ax, one, "items", "cosine", color=colour, ls=ls, label=f"{label}, median")
        if table["cosine"].notna().any():
            ax.set_xscale("log")
        ax.set_xticks(apart(set(here["items"])))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(top=1.02)
        head(ax, f"block {layer}", f"{summary(here, 'draws')} draws", 30)
    titles(figure, x="items a vector is made from", y="cosine with the vector\nfrom all items")
    legend(figure, axes[:1], 2)
    return figure


def several_or_one(table: pd.DataFrame) -> Figure:
    """Several vectors from few items each, or one from all of those: a dot a behaviour.

    Args:
        table: as `convergence.several_or_one` takes it.
    """
    rows = table[table["what"] != "curve"]
    palette = block_colours(table)
    against, told = reference(rows)
    rows = rows[rows["against"] == against]
    figure, (ax,) = panels(["all"], columns=1, height=2.2)
    if rows.empty:
        note(ax, "n = 0: fewer items\nthan are compared", color=GREY)
        ax.set_axis_off()
        return figure
    step = 0.8 / len(palette)
    for number, (layer, colour) in enumerate(palette.items()):
        for place, what in enumerate(PLACES):
            one = rows[(rows["layer"] == layer) & (rows["what"] == what)]
            shift = step * (number - (len(palette) - 1) / 2)
            look = {"color": colour, "label": f"block {layer}, median", "width": 0.8 * step}
            dots(ax, place + shift, one["cosine"], **look)
    ax.set_xticks(range(len(PLACES)), labels(rows))
    missing = len(names_of(table)) - len(names_of(rows))
    few = f"\n(n = 0: {missing} with fewer items than are compared)" if missing else ""
    ax.set_title(f"{summary(rows, 'draws')} draws{few}")
    titles(figure, y=f"cosine with the vector\nfrom the {told}")
    legend(figure, [ax], 2)
    return figure
