"""Figures of neurons, their tokens and their prompts."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.style import GREY, colours, note, panels, titles

KINDS = {"next_token": "next-token neurons", "random": "random neurons"}


def _kinds(table: pd.DataFrame) -> dict[str, str]:
    """The kinds that a table has, with their names."""
    return {kind: name for kind, name in KINDS.items() if (table["kind"] == kind).any()}


def token_blocks(table: pd.DataFrame) -> Figure:
    """In which block the neuron most congruent with each token is.

    Args:
        table: tokens (all or candidates), layer, n, share.
    """
    figure, (ax,) = panels(["tokens"], height=1.6)
    shades = {"all": "0.75", "candidates": colours(["candidates"])["candidates"]}
    for name, colour in shades.items():
        here = table[table["tokens"] == name]
        ax.bar(
            here["layer"] + (0.2 if name == "candidates" else -0.2),
            100 * here["share"],
            width=0.4,
            color=colour,
            label=f"{name} (n = {here['n'].sum():,})",
        )
    ax.set_xlabel("block of the most congruent neuron")
    ax.set_ylabel("tokens (%)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="upper left")
    return figure


def prompt_lengths(table: pd.DataFrame) -> Figure:
    """Share of prompts no longer than so many tokens, before and after truncation.

    Args:
        table: kind, before, after.
    """
    kinds = _kinds(table)
    figure, axes = panels(list(kinds) or [""], sharey=True, sharex=True, height=1.5)
    palette = colours(list(KINDS))
    for ax, (kind, name) in zip(axes, kinds.items(), strict=False):
        here = table[table["kind"] == kind]
        for column, line in (("before", "--"), ("after", "-")):
            sns.ecdfplot(here[column], ax=ax, color=palette[kind], ls=line, label=column)
            ax.axvline(here[column].median(), color=palette[kind], ls=line, lw=0.6)
        medians = f"{here['before'].median():g} to {here['after'].median():g}"
        ax.set_title(f"{name} (n = {len(here)})\nmedian {medians} tokens")
        ax.set_xlabel("")
        ax.set_ylabel("share of prompts")
    if kinds:
        axes[0].legend(title="truncation", title_fontsize=6.5)
    else:
        note(axes[0], "no prompt was truncated", color=GREY)
    titles(figure, x="prompt length up to the firing token (tokens)")
    return figure
