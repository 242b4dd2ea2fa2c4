"""What judges say of many behaviours' completions: a panel a judge, a line a behaviour."""

import pandas as pd
from matplotlib.figure import Figure

from steerpaper.plots.many import head, lines, summary
from steerpaper.plots.ratings import unrated
from steerpaper.plots.style import GREY, colours, flag_marks, legend, note, panels, titles


def ratings(table: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """Mean rating of the completions by multiplier, as a share of each behaviour's scale.

    Args:
        table, agreement: as `ratings.ratings` takes them.
    """
    palette = colours(list(table["judge"].unique()))
    scale = table["highest"] - table["lowest"]
    table = table.assign(share=(table["value"] - table["lowest"]) / scale)
    figure, axes = panels(list(palette), height=2.1, sharex=True, sharey=True)
    for ax, (name, colour) in zip(axes, palette.items(), strict=True):
        here = table[table["judge"] == name]
        lines(ax, here, "multiplier", "share", color=colour, label="median")
        if not here["n"].any():
            note(ax, "no rating", color=GREY)
        # "no rating: 5 of 80" stays whole
        told = [summary(here), unrated(here).replace(" ", "\xa0")]
        head(ax, name, "; ".join(part for part in told if part), 34 if len(palette) > 1 else 60)
        ax.set_ylim(-0.04, 1.04)
    kappas = agreement["kappa"].dropna()
    between = f"; median kappa {kappas.median():.2f}" if len(kappas) else ""
    titles(figure, x="multiplier", y="mean rating\n(0: lowest, 1: highest)")
    legend(figure, axes[:1], 1, title=f"thin: behaviours{between}")
    flag_marks(figure, table)
    return figure
