"""Figures of what stands beside steering: chains of thought, system prompts, what it costs."""

import textwrap
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, ScalarFormatter

from steerpaper.plots.random_bands import around_unsteered, random_reach, without_prompt
from steerpaper.plots.style import (
    CONTROL_LOOKS,
    GREY,
    colours,
    counts,
    dagger,
    flag_marks,
    legend,
    panels,
    points,
    titles,
    words,
)
from steerpaper.steering.conditions import BEHAVIOR, UNSTEERED, kind_of

# what is steered: how reasoning comes about, its part, and what it is called below the axis
STEERED = [
    ("without", "answer", "no\nreasoning"),
    ("sampled", "reasoning", "reasoning"),
    ("sampled", "answer", "answer"),
    ("sampled", "both", "both"),
]


def reasoning(table: pd.DataFrame, first_order: pd.DataFrame) -> Figure:
    """Change of the logit difference after a chain of thought, by the part that is steered.

    Args:
        table: behavior, reasoning, steered, multiplier, n, prompts, change with its interval,
            flags.
        first_order: what random directions do without reasoning (see `random_reach`).
    """
    reach = random_reach(first_order, table)
    behaviors = list(table["behavior"].unique())
    steered = table[table["steered"] != "none"]
    palette = colours([f"{m:g}" for m in sorted(steered["multiplier"].unique())])
    figure, axes = panels(behaviors, height=1.5, sharey=True)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = steered[steered["behavior"] == behavior]
        zero_line(ax)
        if behavior in reach:
            far = reach[behavior] * steered["multiplier"].abs().max()
            ax.fill_between([-0.4, 0.4], -far, far, lw=0, label="random", **CONTROL_LOOKS["random"])
        for number, (name, colour) in enumerate(palette.items()):
            for place, (written, part, _) in enumerate(STEERED):
                one = here[
                    (here["reasoning"] == written)
                    & (here["steered"] == part)
                    & (here["multiplier"].map("{:g}".format) == name)
                ]
                shift = 0.2 * (number - (len(palette) - 1) / 2)
                points(
                    ax, [place + shift] * len(one), one, "change", fmt="o", color=colour, label=name
                )
        ax.axvline(0.5, color="0.85", lw=0.6)
        ax.set_xticks(range(len(STEERED)), [label for _, _, label in STEERED])
        ax.set_xlim(-0.5, len(STEERED) - 0.5)
        ax.tick_params(axis="x", labelsize=5)
        ax.set_title(f"{behavior}{dagger(here)}")
    sampled = steered[steered["reasoning"] == "sampled"]
    _, title, unit = words(table)
    chains = f"{counts(sampled)} chains of {sampled['prompts'].max()} prompts"
    titles(
        figure, x=f"what is steered ({chains})", y=textwrap.fill(f"change of {title} ({unit})", 17)
    )
    legend(figure, axes, len(palette) + 1, title="multiplier", last="random")
    flag_marks(figure, steered)
    return figure


def system_prompts(table: pd.DataFrame, first_order: pd.DataFrame) -> Figure:
    """Logit difference by multiplier under each system prompt.

    Args:
        table: behavior, system_prompt, multiplier, n, the measure with its interval, flags; n = 0
            where a system prompt could not be had.
        first_order: what random directions do without a system prompt (see `random_reach`).
    """
    measure, title, unit = words(table)
    table = around_unsteered(table, random_reach(first_order, table))
    return _by_prompt(table, measure, f"{title} ({unit})", zero_line)


def propensity(table: pd.DataFrame) -> Figure:
    """Propensity by multiplier under each system prompt, as Panickssery et al. 2023 draw it.

    Args:
        table: behavior, system_prompt, multiplier, n, p_matching with its interval, control_low,
            control_high, flags; n = 0 where a system prompt could not be had.
    """
    return _by_prompt(table, "p_matching", "propensity, p(matching)", propensity_axis)


def zero_line(ax: Axes) -> None:
    """Where a score favours neither answer."""
    ax.axhline(0, color="0.8", lw=0.6)


def propensity_axis(ax: Axes) -> None:
    """Shares, and where neither answer is preferred."""
    ax.axhline(0.5, color="0.6", lw=0.6, ls=":")
    ax.set_ylim(0, 1.04)


def _by_prompt(table: pd.DataFrame, measure: str, y: str, ground: Callable[[Axes], None]) -> Figure:
    """A panel a behaviour, a line a system prompt; the band of random directions without one."""
    behaviors = list(table["behavior"].unique())
    without = without_prompt(table)
    palette = colours(["for", without, "against"])
    figure, axes = panels(behaviors, height=1.6)
    for ax, behavior in zip(axes, behaviors, strict=True):
        here = table[table["behavior"] == behavior]
        ground(ax)
        missing = []
        for number, (name, colour) in enumerate(palette.items()):
            one = here[(here["system_prompt"] == name) & (here["n"] > 0)].sort_values("multiplier")
            if one.empty:
                missing.append(f"'{name}': n = 0")
                continue
            x = one["multiplier"]
            if name == without and one["control_low"].notna().any():
                low, high = one["control_low"], one["control_high"]
                ax.fill_between(x, low, high, lw=0, label="random", **CONTROL_LOOKS["random"])
            look = {"fmt": "os^"[number] + "-", "color": colour, "label": name}
            points(ax, x + 0.04 * (number - 1), one, measure, **look)
        if missing:
            ax.text(
                0.02, 0.98, "\n".join(missing), transform=ax.transAxes, va="top", color=GREY, size=6
            )
        ax.set_title(f"{behavior}{dagger(here)} ({counts(here[here['n'] > 0])})")
    titles(figure, x="multiplier", y=y)
    legend(figure, axes, 4, title="system prompt", last="random")
    flag_marks(figure, table)
    return figure


def cost(table: pd.DataFrame) -> Figure:
    """Perplexity of neutral text and accuracy on knowledge questions by multiplier.

    Args:
        table: behavior, measure, contrast, direction, multiplier, n, value, value_low, value_high,
            flags.
    """
    palette = colours(list(table["behavior"].unique()))
    kinds = list(table[["measure", "contrast"]].drop_duplicates().itertuples(index=False))
    figure, axes = panels(kinds, columns=1, height=1.25, sharex=True)
    for ax, (measure, contrast) in zip(axes, kinds, strict=True):
        of_kind = table[(table["measure"] == measure) & (table["contrast"] == contrast)]
        for number, (behavior, colour) in enumerate(palette.items()):
            # side by side, so that the bars of equal multipliers can be told apart
            shift = 0.06 * (number - (len(palette) - 1) / 2)
            behavior_lines(ax, of_kind[of_kind["behavior"] == behavior], behavior, colour, shift)
        if measure == "perplexity":
            perplexity_axis(ax, of_kind)
        else:
            ax.axhline(0.5, color="0.6", lw=0.6, ls=":")
            ax.set_ylim(0, 1.04)
            ax.set_ylabel("accuracy")
            told = f"{contrast}{dagger(of_kind)} ({counts(of_kind)}; dotted: chance)"
            ax.set_title(f"knowledge questions, {told}")
    axes[-1].set_xlabel("multiplier")
    legend(figure, axes, 2)
    flag_marks(figure, table)
    return figure


def behavior_lines(ax: Axes, table: pd.DataFrame, behavior: str, colour: Any, shift: float) -> None:
    """One behaviour's line by multiplier, and the range of its random directions'.

    Args:
        table: direction, multiplier, value, value_low, value_high.
    """
    # the unsteered run belongs to every direction
    unsteered = table[table["direction"] == UNSTEERED]
    own = table[table["direction"] == BEHAVIOR]
    line = pd.concat([own, unsteered]).sort_values("multiplier")
    x = line["multiplier"] + shift
    points(ax, x, line, "value", marker="o", ms=2, color=colour, label=behavior)
    random = table[table["direction"].map(kind_of) == "random"].dropna(subset=["value"])
    if len(random):
        every = pd.concat([random, unsteered]).groupby("multiplier")["value"]
        low, high = every.min(), every.max()
        label = f"{behavior}: random directions"
        ax.fill_between(low.index, low, high, lw=0, alpha=0.2, color=colour, label=label)


def perplexity_axis(ax: Axes, table: pd.DataFrame) -> None:
    """A logarithmic axis with ticks that are numbers, and what its texts are."""
    ax.set_yscale("log")
    ax.set_ylabel("perplexity (log)")
    ax.set_title(f"neutral text{dagger(table)} ({counts(table)} texts)")
    low, high = table["value_low"].min(), table["value_high"].max()
    ticks = [t for p in range(-1, 7) for t in (10.0**p, 2 * 10.0**p, 3 * 10.0**p, 5 * 10.0**p)]
    ax.yaxis.set_major_locator(
        FixedLocator([tick for tick in ticks if low / 1.3 <= tick <= high * 1.3])
    )
    ax.yaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_minor_formatter(NullFormatter())
