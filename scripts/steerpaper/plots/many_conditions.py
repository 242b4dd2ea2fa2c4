"""Figures of many behaviours under other conditions: chains of thought, system prompts, costs."""

import textwrap
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steerpaper.plots.conditions import (
    STEERED,
    perplexity_axis,
    propensity_axis,
    zero_line,
)
from steerpaper.plots.many import dots, head, lines, summary, widest
from steerpaper.plots.pages import names_of
from steerpaper.plots.random_bands import around_unsteered, random_reach, without_prompt
from steerpaper.plots.style import (
    COLOURS,
    CONTROL_LOOKS,
    GREY,
    colours,
    flag_marks,
    legend,
    note,
    panels,
    titles,
    words,
)
from steerpaper.steering.conditions import BEHAVIOR, UNSTEERED


def reasoning(table: pd.DataFrame, first_order: pd.DataFrame) -> Figure:
    """Change of the score after a chain of thought, by the part that is steered: a dot a behaviour.

    Args:
        table, first_order: as `conditions.reasoning` takes them.
    """
    steered = table[table["steered"] != "none"]
    palette = colours([f"{m:g}" for m in sorted(steered["multiplier"].unique())])
    reach = random_reach(first_order[first_order["behavior"].isin(names_of(table))], table)
    figure, (ax,) = panels(["all"], columns=1, height=2.4)
    zero_line(ax)
    if reach:
        far = max(reach.values()) * steered["multiplier"].abs().max()
        ax.fill_between([-0.4, 0.4], -far, far, lw=0, label="random", **CONTROL_LOOKS["random"])
    step = 0.8 / max(len(palette), 1)
    for number, (name, colour) in enumerate(palette.items()):
        of_multiplier = steered[steered["multiplier"].map("{:g}".format) == name]
        for place, (written, part, _) in enumerate(STEERED):
            one = of_multiplier[
                (of_multiplier["reasoning"] == written) & (of_multiplier["steered"] == part)
            ]
            shift = step * (number - (len(palette) - 1) / 2)
            dots(ax, place + shift, one["change"], color=colour, label=name, width=0.8 * step)
    ax.axvline(0.5, color="0.85", lw=0.6)
    ax.set_xticks(range(len(STEERED)), [label for _, _, label in STEERED])
    ax.set_xlim(-0.5, len(STEERED) - 0.5)
    sampled = steered[steered["reasoning"] == "sampled"]
    ax.set_title(f"{summary(sampled)} chains of {sampled['prompts'].max()} prompts")
    _, title, unit = words(table)
    titles(figure, x="what is steered", y=textwrap.fill(f"change of {title} ({unit})", 26))
    legend(figure, [ax], len(palette) + 1, title="multiplier (bar: median)", last="random")
    flag_marks(figure, steered)
    return figure


def system_prompts(table: pd.DataFrame, first_order: pd.DataFrame) -> Figure:
    """Score by multiplier, a panel a system prompt, a line a behaviour.

    Args:
        table, first_order: as `conditions.system_prompts` takes them.
    """
    measure, title, unit = words(table)
    table = around_unsteered(table, random_reach(first_order, table))
    return _by_prompt(table, measure, f"{title} ({unit})", zero_line)


def propensity(table: pd.DataFrame) -> Figure:
    """Propensity by multiplier, a panel a system prompt, a line a behaviour.

    Args:
        table: as `conditions.propensity` takes it.
    """
    return _by_prompt(table, "p_matching", "propensity, p(matching)", propensity_axis)


def _by_prompt(table: pd.DataFrame, measure: str, y: str, ground: Callable[[Axes], None]) -> Figure:
    without = without_prompt(table)
    palette = colours(["for", without, "against"])
    figure, axes = panels(list(palette), columns=3, height=2.1, sharex=True, sharey=True)
    for ax, (name, colour) in zip(axes, palette.items(), strict=True):
        here = table[table["system_prompt"] == name]
        there = here[here["n"] > 0]
        missing = len(names_of(here)) - len(names_of(there))
        ground(ax)
        if there.empty:
            note(ax, "n = 0", color=GREY)
            ax.set_title(f"{name}\n(0 behaviours)", fontsize=6)
            continue
        if name == without and there["control_low"].notna().any():
            _random(ax, there, measure)
        lines(ax, there, "multiplier", measure, color=colour, label=name)
        empty = f"; none for {missing}" if missing else ""
        head(ax, name, f"{summary(there)}{empty}", 16)
    titles(figure, x="multiplier", y=y)
    legend(figure, axes, 4, title="system prompt (thick: median)", last="random")
    flag_marks(figure, table)
    return figure


def _random(ax: Axes, table: pd.DataFrame, measure: str) -> None:
    """The widest of what random directions do, around the median behaviour unsteered."""
    unsteered = table[table["multiplier"] == 0].set_index("behavior")[measure]
    base = table["behavior"].map(unsteered)
    ends = table.assign(low=table["control_low"] - base, high=table["control_high"] - base)
    reach = widest(ends, "multiplier", "low", "high")
    low, high = (unsteered.median() + reach[end] for end in ("low", "high"))
    look = CONTROL_LOOKS["random"]
    ax.fill_between(reach["multiplier"], low, high, lw=0, label="random", **look)


def cost(table: pd.DataFrame) -> Figure:
    """Perplexity and accuracy by multiplier, a line a behaviour, and random directions.

    Args:
        table: as `conditions.cost` takes it.
    """
    kinds = list(table[["measure", "contrast"]].drop_duplicates().itertuples(index=False))
    figure, axes = panels(kinds, columns=1, height=1.5, sharex=True)
    for ax, (measure, contrast) in zip(axes, kinds, strict=True):
        of_kind = table[(table["measure"] == measure) & (table["contrast"] == contrast)]
        vector_and_random(ax, of_kind)
        if measure == "perplexity":
            perplexity_axis(ax, of_kind)
            head(ax, "neutral text", f"{summary(of_kind)} texts", 60)
        else:
            ax.axhline(0.5, color="0.6", lw=0.6, ls=":")
            ax.set_ylim(0, 1.04)
            ax.set_ylabel("accuracy")
            told = f"{summary(of_kind)} questions; dotted: chance"
            head(ax, f"knowledge questions, {contrast}", told, 60)
    axes[-1].set_xlabel("multiplier")
    legend(figure, axes, 2)
    flag_marks(figure, table)
    return figure


def vector_and_random(ax: Axes, table: pd.DataFrame) -> None:
    """A line a behaviour by multiplier and their median, of the vector and of random directions.

    Args:
        table: behavior, direction, multiplier, value.
    """
    # the unsteered run belongs to every direction
    unsteered = table[table["direction"] == UNSTEERED]
    own = table["direction"] == BEHAVIOR
    steered = pd.concat([table[own], unsteered])
    random = table[~own & (table["direction"] != UNSTEERED)]
    if len(random):
        keys = ["behavior", "multiplier"]
        # of several directions each behaviour's mean
        mean = random.groupby(keys, as_index=False)["value"].mean()
        both = pd.concat([mean, unsteered])
        look = {"color": GREY, "ls": "--", "label": "random directions, median"}
        lines(ax, both, "multiplier", "value", **look)
    lines(ax, steered, "multiplier", "value", color=COLOURS[0], label="vector, median")
