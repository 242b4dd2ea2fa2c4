"""What judges say of steered completions: mean ratings by multiplier."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steerpaper.plots.style import (
    GREY,
    colours,
    counts,
    dagger,
    flag_marks,
    legend,
    note,
    panels,
    points,
    shown,
    titles,
)


def ratings(table: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """Mean rating of the completions by multiplier: a panel a behaviour, a line a judge.

    Args:
        table: behavior, judge, multiplier, value, low, high, n, unparsed, lowest, highest, flags.
        agreement: behavior, first, second, kappa, low, high, of every pair that rated.
    """
    behaviors = list(table["behavior"].unique())
    palette = colours(list(table["judge"].unique()))
    figure, axes = panels(behaviors, height=1.45, sharex=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        for number, name in enumerate(palette):
            # side by side, so that the bars of equal multipliers can be told apart
            shift = 0.06 * (number - (len(palette) - 1) / 2)
            line = here[here["judge"] == name].sort_values("multiplier")
            look = {"marker": "o", "ms": 2, "color": palette[name], "label": name}
            points(ax, line["multiplier"] + shift, line, "value", "low", "high", **look)
        if not here["n"].any():
            note(ax, "no rating", color=GREY)
        _scale(ax, float(here["lowest"].min()), float(here["highest"].max()))
        told = [counts(here), unrated(here)]
        lines = [f"{behavior}{dagger(here)}", "; ".join(part for part in told if part)]
        lines.append(_agreed(agreement[agreement["behavior"] == behavior]))
        ax.set_title("\n".join(line for line in lines if line), fontsize=6)
    titles(figure, x="multiplier", y="mean rating\n(axis: judge's scale)")
    legend(figure, axes, 2, title="judge")
    flag_marks(figure, table)
    return figure


def unrated(table: pd.DataFrame) -> str:
    """How many answers are no rating, as text; empty where all are one."""
    missing, all_of_them = int(table["unparsed"].sum()), int(table[["unparsed", "n"]].sum().sum())
    return f"no rating: {missing} of {all_of_them}" if missing else ""


def _scale(ax: Axes, lowest: float, highest: float) -> None:
    """An axis as long as the judge's scale: a small change is to look like one."""
    room = 0.04 * (highest - lowest)
    ax.set_ylim(lowest - room, highest + room)


def _agreed(pairs: pd.DataFrame) -> str:
    """The kappa of two raters, as text; of more the lowest and the highest, of one none."""
    if pairs.empty:
        return ""
    kappa, low, high = (pairs[key].iloc[0] for key in ("kappa", "low", "high"))
    if len(pairs) == 1:
        return f"kappa {shown(kappa, '.2f')} [{shown(low, '.2f')}, {shown(high, '.2f')}]"
    return f"kappa {shown(pairs['kappa'].min(), '.2f')} to {shown(pairs['kappa'].max(), '.2f')}"
