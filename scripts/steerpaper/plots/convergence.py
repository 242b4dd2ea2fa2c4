"""Figures of how many items a vector needs."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from steerpaper.plots.style import GREY, counts, legend, note, panels, points, titles

# with what a vector is compared: the label of a line, and its style
AGAINST = {"full": ("all items", "-"), "disjoint": ("two disjoint sets", ":")}
PLACES = ("one", "several, mean", "several, lowest")  # what is compared


def block_colours(table: pd.DataFrame) -> dict[int, Any]:
    """Blocks are in order, so their colours are too."""
    layers = sorted(table["layer"].unique())
    return dict(zip(layers, sns.color_palette("viridis", len(layers) + 1)[:-1], strict=True))


def convergence(table: pd.DataFrame) -> Figure:
    """Cosine of vectors from few items with the vector from all, by number of items.

    Args:
        table: behavior, layer, what, against, items, draws, cosine, low, high of one contrast and
            the blocks to show.
    """
    table = table[table["what"] == "curve"]
    behaviors = list(table["behavior"].unique())
    palette = block_colours(table)
    figure, axes = panels(behaviors, height=1.6, sharex=True, sharey=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        for layer, colour in palette.items():
            for against, (_, ls) in AGAINST.items():
                one = here[(here["layer"] == layer) & (here["against"] == against)]
                one = one.sort_values("items")
                label = f"block {layer}" if against == "full" else ""
                ax.plot(one["items"], one["cosine"], color=colour, ls=ls, marker="o", label=label)
                if against == "full":
                    ax.fill_between(
                        one["items"], one["low"], one["high"], color=colour, alpha=0.15, lw=0
                    )
        ax.plot([], [], color=GREY, ls=":", label=AGAINST["disjoint"][0])
        if table["cosine"].notna().any():
            ax.set_xscale("log")
        ax.set_xticks(apart(set(here["items"])))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(top=1.02)
        ax.set_title(f"{behavior} ({counts(here, 'draws')} draws)")
    titles(
        figure,
        x="items a vector is made from (band: range of the draws)",
        y="cosine with the vector\nfrom all items",
    )
    legend(figure, axes, 2)
    return figure


def apart(values: Iterable[int]) -> list[int]:
    """Values far enough from each other to be labels on a logarithmic axis."""
    found: list[int] = []
    for value in sorted(values, reverse=True):
        if not found or found[-1] / value >= 1.6:
            found.append(value)
    return found[::-1]


def several_or_one(table: pd.DataFrame) -> Figure:
    """Several vectors from few items each, or one vector from all of those items.

    Args:
        table: behavior, layer, what, against, items, draws, cosine, low, high of one contrast and
            the blocks to show.
    """
    behaviors = list(table["behavior"].unique())
    rows = table[table["what"] != "curve"]
    palette = block_colours(table)
    against, told = reference(rows)
    figure, axes = panels(behaviors, height=1.6, sharey=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = rows[rows["behavior"] == behavior]
        if here.empty:
            note(ax, "n = 0: fewer items\nthan are compared", color=GREY)
            ax.set_axis_off()
            ax.set_title(behavior)
            continue
        for number, (layer, colour) in enumerate(palette.items()):
            for place, what in enumerate(PLACES):
                one = here[
                    (here["layer"] == layer) & (here["what"] == what) & (here["against"] == against)
                ]
                shift = 0.15 * (number - (len(palette) - 1) / 2)
                label = f"block {layer}"
                look = {"fmt": "o", "color": colour, "label": label}
                points(ax, [place + shift], one, "cosine", "low", "high", **look)
        ax.set_xticks(range(3), labels(here))
        ax.set_xlim(-0.5, 2.5)
        ax.set_title(f"{behavior} ({counts(here, 'draws')} draws)")
    titles(figure, y=f"cosine with the vector\nfrom the {told}")
    legend(figure, axes, 3)
    return figure


def labels(rows: pd.DataFrame) -> list[str]:
    """What is compared, by the numbers of items."""
    few = rows[rows["what"] == "several, mean"]["items"].iloc[0]
    all_of_them = rows[rows["what"] == "one"]["items"].iloc[0]
    return [
        f"one from\n{all_of_them}",
        f"{all_of_them // few} from\n{few}, mean",
        "lowest\nof them",
    ]


def reference(rows: pd.DataFrame) -> tuple[str, str]:
    """The vector that one and several are compared with, and from which items it is.

    Items that no vector has seen are the fair reference, where some are left.
    """
    left = (rows["against"] == "rest").any()
    return ("rest", "items left over") if left else ("full", "all items")
