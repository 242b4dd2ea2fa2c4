"""Figures of steering's effect on many behaviours: by block, by multiplier, by both, and sorted."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from steerpaper.plots.effects import change_of
from steerpaper.plots.many import LETTERS, Rows, head, lines, rows_of, summary, widest
from steerpaper.plots.style import (
    COLOURS,
    CONTROL_LOOKS,
    control_area,
    flag_marks,
    largest,
    legend,
    panels,
    titles,
    words,
)
from steerpaper.steering.conditions import BEHAVIOR, KINDS, kind_of


def _by_contrast(table: pd.DataFrame) -> tuple[Figure, dict[str, Axes]]:
    """A panel a contrast, one below the other."""
    contrasts = list(table["contrast"].unique())
    figure, axes = panels(contrasts, columns=1, height=1.9, sharex=True)
    return figure, dict(zip(contrasts, axes, strict=True))


def _of(table: pd.DataFrame, contrast: str) -> pd.DataFrame:
    return table[table["contrast"] == contrast]


def layer_sweep(
    table: pd.DataFrame, steerability: pd.DataFrame, first_order: pd.DataFrame
) -> Figure:
    """Mean steerability slope on dev by block, a line a behaviour, and the widest of the controls.

    Args:
        table, steerability, first_order: as `effects.layer_sweep` takes them.
    """
    figure, axes = _by_contrast(table)
    comparable = words(table)[0] == "logit_diff"
    for contrast, ax in axes.items():
        here, chosen = _of(table, contrast), _of(steerability, contrast)
        ax.axhline(0, color="0.8", lw=0.6)
        if comparable:
            dev = _of(first_order, contrast)
            dev = dev[dev["split"] == "dev"]
            for kind, look in CONTROL_LOOKS.items():
                reach = widest(dev, "layer", f"{kind}_low", f"{kind}_high")
                ax.fill_between(
                    reach["layer"], reach["low"], reach["high"], lw=0, label=kind, **look
                )
            middle = dev.groupby("layer")["slope"].median()
            ax.plot(middle, color=COLOURS[3], lw=0.8, label="first order, median")
        lines(ax, here, "layer", "slope", color=COLOURS[0], label="measured, median")
        at = chosen[["behavior", "layer"]].merge(here, on=["behavior", "layer"])
        ax.plot(at["layer"], at["slope"], "o", ms=2, mew=0, color="0.2", label="chosen")
        out = int((chosen["stands_out"].astype(str) == "False").sum())
        told = f"; no block stands out for {out} of {len(chosen)}" if out else ""
        head(ax, contrast, f"{summary(here)}{told}", 60)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    titles(
        figure, x="block steered", y=f"steerability slope ({words(table)[2]} per unit multiplier)"
    )
    legend(figure, list(axes.values()), 3, last="measured")
    flag_marks(figure, table)
    return figure


def dose_response(table: pd.DataFrame) -> Figure:
    """Change of the mean score on test by multiplier, a line a behaviour, and the widest controls'.

    Args:
        table: as `effects.dose_response` takes it.
    """
    figure, axes = _by_contrast(table)
    for contrast, ax in axes.items():
        here = _of(table, contrast)
        ax.axhline(0, color="0.8", lw=0.6)
        for kind, look in CONTROL_LOOKS.items():
            controls = here[here["direction"] == kind]
            if len(controls):
                reach = widest(controls, "multiplier", "change_low", "change_high")
                control_area(ax, reach, label=kind, **look)
        own = here[here["direction"] == BEHAVIOR]
        lines(ax, own, "multiplier", "change", color=COLOURS[0], label="vector, median")
        head(ax, contrast, summary(own), 60)
    titles(figure, x="multiplier", y=change_of(table))
    legend(figure, list(axes.values()), 3, last="vector")
    flag_marks(figure, table)
    return figure


def _sorted(table: pd.DataFrame, column: str) -> list[str]:
    """The behaviours by what a column says of the leading contrast, the highest first."""
    lead = _of(table, table["contrast"].iloc[0]).set_index("behavior")[column]
    names = pd.Index(table["behavior"].unique())
    return list(lead.reindex(names).sort_values(ascending=False, kind="stable").index)


def steerability(items: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Mean slope of every behaviour with its interval, sorted, over the range of its controls'.

    Args:
        items, table: as `effects.steerability` takes them.
    """
    table = table[table["direction"] == BEHAVIOR]
    contrasts = list(table["contrast"].unique())
    names = _sorted(table, "slope")
    figure, parts = rows_of(names, len(contrasts), rest=1.0)
    keys = ["behavior", "contrast", "direction"]
    means = items.groupby(keys, sort=False, as_index=False)["slope"].mean()
    means = means.assign(kind=means["direction"].map(kind_of))
    for part in parts:
        for contrast, ax in zip(contrasts, part.axes, strict=True):
            here = _of(table, contrast)
            _forest(ax, part, here, _of(means, contrast))
            head(ax, contrast, summary(here), 16)
    unit = words(table)[2]
    titles(figure, x=f"steerability slope on test ({unit} per unit multiplier)")
    legend(figure, parts[0].axes, 4)
    flag_marks(figure, table)
    return figure


def _forest(ax: Axes, part: Rows, table: pd.DataFrame, means: pd.DataFrame) -> None:
    """A row a behaviour: its slope and interval, and between what its controls' mean slopes lie."""
    for kind in KINDS:
        of_kind = means[means["kind"] == kind].groupby("behavior")["slope"]
        low, high = (end.reindex(part.names) for end in (of_kind.min(), of_kind.max()))
        look = CONTROL_LOOKS[kind]
        ax.barh(range(len(part.names)), high - low, 0.8, left=low, lw=0, label=kind, **look)
    own = table.set_index("behavior").reindex(part.names)
    ax.errorbar(
        own["slope"],
        range(len(part.names)),
        xerr=[own["slope"] - own["low"], own["high"] - own["slope"]],
        fmt="o",
        ms=1.8,
        elinewidth=0.7,
        color=COLOURS[0],
        label="vector",
    )
    _mark_rows(ax, part, own)
    ax.axvline(0, color="0.2", lw=0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=3))


def _mark_rows(ax: Axes, part: Rows, table: pd.DataFrame) -> None:
    """A dagger behind the row of a behaviour that is flagged.

    Args:
        table: flags, by behaviour.
    """
    flagged = table["flags"].reindex(part.names).fillna("").ne("")
    for row in np.flatnonzero(flagged).tolist():
        ax.text(1, row, "†", transform=ax.get_yaxis_transform(), size=LETTERS, va="center")


def heatmap(table: pd.DataFrame, first_order: pd.DataFrame) -> Figure:
    """Change at the highest multiplier, behaviour × block; dots: within the controls.

    Args:
        table, first_order: as `effects.heatmap` takes them.
    """
    comparable = words(table)[0] == "logit_diff"
    most = table["multiplier"].max()
    table = table[(table["direction"] == BEHAVIOR) & (table["multiplier"] == most)]
    best = table.groupby(["behavior", "contrast"], sort=False)["change"].max().reset_index()
    names, contrasts = _sorted(best, "change"), list(table["contrast"].unique())
    figure, parts = rows_of(names, len(contrasts), rest=1.2)
    # one scale for all: an effect that is nothing beside another's must look like nothing
    limit = largest(table["change"])
    norm = TwoSlopeNorm(0, -limit, limit)
    for part in parts:
        for contrast, ax in zip(contrasts, part.axes, strict=True):
            here = _of(table, contrast)
            dev = _of(first_order, contrast) if comparable else first_order.head(0)
            _image(ax, part, here, norm, _reach(dev) * abs(most))
            _mark_rows(ax, part, here.drop_duplicates("behavior").set_index("behavior"))
            head(ax, contrast, summary(here), 16)
    titles(figure, x="block")
    figure.colorbar(
        ScalarMappable(norm, "RdBu_r"),
        ax=[ax for part in parts for ax in part.axes],
        label=f"{change_of(table)} at multiplier {most:g}",
        location="top",
        aspect=40,
        shrink=0.8,
    )
    flag_marks(figure, table)
    return figure


def _image(
    ax: Axes, part: Rows, table: pd.DataFrame, norm: TwoSlopeNorm, reach: pd.DataFrame
) -> None:
    """A row a behaviour, a column a block; a dot where a change lies in its controls' band.

    Args:
        reach: how far the controls go, behaviour × block.
    """
    cells = table.pivot(index="behavior", columns="layer", values="change").reindex(part.names)
    limits = ax.get_ylim()
    ax.imshow(cells, cmap="RdBu_r", norm=norm, aspect="auto", interpolation="nearest")
    ax.set_ylim(limits)
    row, column = np.nonzero(np.abs(cells) <= reach.reindex_like(cells))
    ax.plot(column, row, "o", ms=0.7, mew=0, color="0.2")
    blocks = list(cells.columns)
    apart = max(1, round(len(blocks) / 4))
    ax.set_xticks(range(0, len(blocks), apart), blocks[::apart])


def _reach(first_order: pd.DataFrame) -> pd.DataFrame:
    """How far the farther kind of controls moves a behaviour's score, behaviour × block."""
    dev = first_order[first_order["split"] == "dev"]
    ends = [f"{kind}_{end}" for kind in KINDS for end in ("low", "high")]
    widest_end = dev[ends].abs().max(axis=1)
    return dev.assign(reach=widest_end).pivot(index="behavior", columns="layer", values="reach")
