"""Figures of what the vectors of many behaviours depend on, and of their fixed completions."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.many import dots, head, lines, summary, widest
from steerpaper.plots.pages import names_of
from steerpaper.plots.style import (
    COLOURS,
    COLUMN,
    CONTROL_LOOKS,
    GREY,
    colours,
    control_area,
    flag_marks,
    largest,
    legend,
    note,
    panels,
    titles,
    words,
)
from steerpaper.plots.transfer import FILLED, WHERE
from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.steering.labels import LABELS


def transfer(table: pd.DataFrame) -> Figure:
    """Slopes by a vector's block and the one it is added at: median, and how many stand out.

    Args:
        table: as `transfer.transfer` takes it.
    """
    inside = table["slope"].between(table["control_low"], table["control_high"])
    found = table.assign(out=~inside).groupby(["source", "target"])
    slopes, out, held = found["slope"].median(), found["out"].mean(), found["behavior"].nunique()
    figure, (left, right) = panels(["slope", "share"], height=2.5, sharex=True, sharey=True)
    limit = largest(slopes)
    unit = words(table)[2]
    for ax, values, palette, norm, label in (
        (left, slopes, "RdBu_r", TwoSlopeNorm(0, -limit, limit), f"median slope ({unit}/unit)"),
        (right, out, "viridis", Normalize(0, 1), "share of behaviours"),
    ):
        cells = values.unstack()
        image = ax.imshow(cells, cmap=palette, norm=norm, origin="lower", aspect="auto")
        figure.colorbar(image, ax=ax, label=label, location="bottom", aspect=20)
        for axis, blocks in ((ax.xaxis, cells.columns), (ax.yaxis, cells.index)):
            apart = max(1, round(len(blocks) / 8))
            axis.set_ticks(range(0, len(blocks), apart), blocks[::apart])
    left.set_title("slope", fontsize=6.5)
    right.set_title("outside the random directions'", fontsize=6.5)
    least, most = held.min(), held.max()
    cells_hold = f"{most}" if least == most else f"{least} to {most}"
    figure.suptitle(
        f"{table['contrast'].iloc[0]} ({summary(table)} items;\n{cells_hold} behaviours a cell)",
        fontsize=7,
    )
    titles(figure, x="block it is added at", y="vector of block")
    flag_marks(figure, table)
    return figure


def estimators(table: pd.DataFrame, cosines: pd.DataFrame) -> Figure:
    """How the estimators' vectors steer, a dot a behaviour, and how like the mean difference.

    Args:
        table, cosines: as `transfer.estimators` takes them.
    """
    palette = colours(list(table["estimator"].unique()))
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(COLUMN, 4.2), layout="constrained")
    _slopes(upper, table, palette)
    upper.set_ylabel(f"slope ({words(table)[2]} per unit)")
    upper.set_title(f"{table['contrast'].iloc[0]} ({summary(table)})")
    here = cosines[cosines["contrast"] == table["contrast"].iloc[0]]
    for name, one in here.groupby("estimator", sort=False):
        label = f"{str(name).replace('_', ' ')}, median"
        lines(lower, one, "layer", "cosine", color=palette[str(name)], label=label)
    lower.set(xlabel="block", ylabel="cosine", ylim=(min(0, here["cosine"].min()) - 0.02, 1.02))
    lower.set_title("similarity to the mean difference (colours as above)")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    legend(figure, [upper], 2, columnspacing=1)
    flag_marks(figure, table)
    return figure


def _slopes(ax: Axes, table: pd.DataFrame, palette: dict[str, object]) -> None:
    """Slopes by estimator and place, over the widest band of random directions."""
    places = [(name, at) for name in palette for at in FILLED]
    ax.use_sticky_edges = False
    ax.axhline(0, color="0.8", lw=0.6, zorder=0)
    for number, (name, at) in enumerate(places):
        one = table[(table["estimator"] == name) & (table["at"] == at)]
        low, high = one["control_low"].min(), one["control_high"].max()
        label = "random directions" if number == 0 else ""
        ax.bar(number, high - low, 0.9, bottom=low, color=GREY, alpha=0.25, lw=0, label=label)
        label = f"{name.replace('_', ' ')}, median" if at == "own" else ""
        dots(ax, number, one["slope"], color=palette[name], label=label, width=0.7)
    ax.set_xticks(range(len(places)), [f"{WHERE[at]}\nblock" for _, at in places], fontsize=6)


def logprob_shift(table: pd.DataFrame) -> Figure:
    """Change of fixed completions' log-probability, a row of panels a contrast and form.

    Args:
        table: as `fixed_completions.logprob_shift` takes it.
    """
    steered = table[table["layers"] != ""]
    keys = ["contrast", "form"]
    kinds = list(steered[keys].drop_duplicates().itertuples(index=False, name=None))
    figure, grid = plt.subplots(
        len(kinds),
        2,
        figsize=(COLUMN, 1.8 * len(kinds) + 0.6),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for (left, right), (contrast, form) in zip(grid, kinds, strict=True):
        here = steered[(steered["contrast"] == contrast) & (steered["form"] == form)]
        asked = f", {form}" if contrast == "letters" else ""
        counted = _labels(left, here)
        left.set_title(f"{contrast}{asked}\n(n = {counted})", fontsize=6)
        _difference(right, here)
    titles(
        figure,
        x="multiplier (n: matching, other, neither completions)",
        y="change of completions' log-probability (nats)",
    )
    legend(figure, [grid[0, 0], *grid[:, 1]], 2, columnspacing=1)
    flag_marks(figure, steered)
    return figure


def _labels(ax: Axes, table: pd.DataFrame) -> str:
    """Each label's completions, a line a behaviour; how many completions there are of each."""
    palette = {**colours(LABELS), "neither": GREY}
    own = table[table["direction"] == BEHAVIOR]
    ax.axhline(0, color="0.8", lw=0.6, zorder=0)
    counted = []
    for label in LABELS:
        one = own[own["label"] == label]
        counted.append(str(one.groupby("behavior")["n"].first().sum()))
        style = "--" if label == "neither" else "-"
        look = {"color": palette[label], "ls": style, "label": f"{label}, median"}
        lines(ax, one[one["n"] > 0], "multiplier", "change", **look)
    return ", ".join(counted)


def _difference(ax: Axes, table: pd.DataFrame) -> None:
    """Matching's change less other's, for letters A's less B's, and the widest of the controls."""
    difference = table[table["label"] == "difference"]
    controls = difference[difference["direction"] == "random"].dropna(subset=["low", "high"])
    if len(controls):
        reach = widest(controls, "multiplier", "low", "high")
        control_area(ax, reach, label="random", **CONTROL_LOOKS["random"])
    own = difference[difference["direction"] == BEHAVIOR]
    there = own[own["n_prompts"] > 0]
    missing = len(names_of(own)) - len(names_of(there))
    ax.axhline(0, color="0.8", lw=0.6, zorder=0)
    lines(ax, there, "multiplier", "change", color="black", label="matching − other, median")
    letters = table[(table["label"] == "A − B") & (table["direction"] == BEHAVIOR)]
    if len(letters):
        look = {"color": COLOURS[4], "ls": ":", "label": "A − B, median"}
        lines(ax, letters, "multiplier", "change", **look)
    empty = f"; none of both labels: {missing}" if missing else ""
    head(ax, "difference", summary(own, "n_prompts").replace("n =", "prompts:") + empty, 24)
    if there.empty:
        note(ax, "n = 0: no completions\nof both labels")
        ax.set_yticks([])
