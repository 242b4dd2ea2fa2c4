"""The look of all figures, their sizes, and how they are saved."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import LogFormatterSciNotation

from steerpaper.plots.fonts import own_fonts_first
from steerpaper.shown import plain
from steerpaper.steering.measures import MEASURES
from steerpaper.workflow.files import whole, write_table

mpl.use("Agg")
own_fonts_first(fontManager)
plt.style.use(Path(__file__).with_name("paper.mplstyle"))

COLUMN = 3.4  # inches: one column of a two-column paper
# the colour-blind safe palette of Wong 2011, as seaborn has it
COLOURS = sns.color_palette("colorblind")
GREY = "0.45"
# controls of either kind, as bands and as outlines
CONTROL_LOOKS: Mapping[str, dict[str, Any]] = {
    "random": {"color": "0.45", "alpha": 0.35},
    "shuffled": {"color": COLOURS[1], "alpha": 0.3},
}


# lines and points have these as names; matplotlib leaves out of legends what begins with _
NAMES = ("behavior", "contrast", "estimator")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its texts as they can be drawn."""

    # most texts stand in many rows
    known = cache(plain)

    def drawn(value: object) -> object:
        return known(value) if isinstance(value, str) else value

    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    table = table.assign(**{str(name): table[name].map(drawn) for name in texts})
    for name in {*NAMES} & {*texts}:
        hidden = table[name].str.startswith("_", na=False)
        table[name] = table[name].where(~hidden, "\N{THIN SPACE}" + table[name].astype(str))
    return table


def colours(names: Sequence[str]) -> dict[str, Any]:
    """A colour for every name, in order; more than ten names take them from a continuous map."""
    palette = COLOURS if len(names) <= len(COLOURS) else sns.color_palette("viridis", len(names))
    return dict(zip(names, palette, strict=False))


def counts(table: pd.DataFrame, column: str = "n") -> str:
    """What a panel's rows rest on, as text: `n = 30`, or `n = 12 to 30` where they differ."""
    fewest, most = int(table[column].min()), int(table[column].max())
    return f"n = {most}" if fewest == most else f"n = {fewest} to {most}"


def panels(
    names: Sequence[object], *, columns: int = 2, height: float = 1.3, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A grid of panels as wide as a column, one for every name; what is left over stays empty."""
    columns = min(columns, len(names))
    rows = math.ceil(len(names) / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(COLUMN, height * rows + 0.5),
        squeeze=False,
        layout="constrained",
        **options,
    )
    axes = list(grid.flat)
    for empty in axes[len(names) :]:
        empty.set_axis_off()
    return figure, axes[: len(names)]


def words(table: pd.DataFrame) -> tuple[str, str, str]:
    """A table's measure, as a column, as a title and its unit; tables hold one here."""
    name = str(table["measure"].iloc[0])
    return name, MEASURES[name].title, MEASURES[name].unit


def titles(figure: Figure, x: str = "", y: str = "") -> None:
    """What all panels' axes are."""
    if x:
        figure.supxlabel(x, fontsize=7)
    if y:
        figure.supylabel(y, fontsize=7)


def largest(values: Any, least: float = 1e-6) -> float:
    """The largest finite size of some numbers, for a scale; at least `least`."""
    sizes = np.abs(np.asarray(values, dtype=float)).ravel()
    return float(sizes[np.isfinite(sizes)].max(initial=least))


def shown(value: float, form: str) -> str:
    """A number as text; a dash where there is none."""
    return format(value, form) if math.isfinite(value) else "–"


def dagger(rows: pd.DataFrame) -> str:
    """A mark for the title of what some rows show; empty where none of them is flagged."""
    return "†" if rows["flags"].fillna("").ne("").any() else ""


def flag_marks(figure: Figure, rows: pd.DataFrame) -> None:
    """Say below a figure what its daggers mean: the flags of the rows that it shows."""
    found = "; ".join(rows["flags"].dropna())
    names = dict.fromkeys(name for name in found.split("; ") if name)
    if names:
        line = textwrap.fill(f"† {'; '.join(names)}", 60)
        # below what the axes are: the layout makes room for one text there
        above = figure.get_supxlabel()
        figure.supxlabel(f"{above}\n{line}" if above else line, fontsize=7 if above else 6)


def legend(
    figure: Figure, axes: Sequence[Axes], ncols: int, *, last: str = "", **look: Any
) -> None:
    """One legend for all panels, each name once; names that begin with `last` come last."""
    known: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    names = sorted(known, key=lambda name: bool(last) and name.startswith(last))
    handles = [known[name] for name in names]
    figure.legend(
        handles, names, loc="outside upper center", ncols=ncols, title_fontsize=6.5, **look
    )


def points(
    axes: Axes, x: Any, table: pd.DataFrame, y: str, low: str = "", high: str = "", **look: Any
) -> None:
    """Points with their intervals.

    Args:
        low, high: the columns of the interval; without them `<y>_low` and `<y>_high`.
    """
    below, above = table[y] - table[low or f"{y}_low"], table[high or f"{y}_high"] - table[y]
    look = {"capsize": 1.5, "elinewidth": 0.7, **look}
    axes.errorbar(x, table[y], yerr=[below, above], **look)


def band(axes: Axes, table: pd.DataFrame, x: str, y: str, low: str, high: str, **look: Any) -> None:
    """A line with its interval; where there is none, no band."""
    table = table.sort_values(x)
    (line,) = axes.plot(table[x], table[y], marker="o", **look)
    axes.fill_between(table[x], table[low], table[high], color=line.get_color(), alpha=0.2, lw=0)


def control_area(axes: Axes, band: pd.DataFrame, **look: Any) -> None:
    """What controls do, as an area from multiplier 0 on, where all begin.

    Args:
        band: multiplier, low, high, in this order, whatever they are called.
    """
    band = band.set_axis(["multiplier", "low", "high"], axis=1)
    start = pd.DataFrame({"multiplier": [0.0], "low": [0.0], "high": [0.0]})
    band = pd.concat([band, start]).sort_values("multiplier")
    axes.fill_between(band["multiplier"], band["low"], band["high"], lw=0, **look)


def note(axes: Axes, text: str, **look: Any) -> None:
    """Say in the middle of an empty panel why it is empty."""
    where: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, text, **where, **look)


class _Powers(LogFormatterSciNotation):
    """Powers of ten as mathematics, on axes that share their ticks."""

    def __init__(self, axes: Sequence[Axis], which: str) -> None:
        super().__init__()
        self._axes, self._which = axes, which

    def format_ticks(self, values: Any) -> list[str]:
        # ticks are made when they are drawn
        for axis in self._axes:
            for tick in getattr(axis, f"get_{self._which}_ticks")(len(values)):
                tick.label1.set_parse_math(True)
        return super().format_ticks(values)


def powers_of_ten(axes: Sequence[Axes]) -> None:
    """Logarithmic y axes; their labels are the only mathematics in a figure.

    Axes without a number stay as they are: no logarithm has a place there.
    """
    if not any(ax.dataLim.y1 > 0 for ax in axes):
        return
    for ax in axes:
        ax.set_yscale("log")
    shown = [ax.yaxis for ax in axes]
    for ax in axes:
        ax.yaxis.set_major_formatter(_Powers(shown, "major"))
        ax.yaxis.set_minor_formatter(_Powers(shown, "minor"))


def save(
    figure: Figure,
    outputs: Mapping[str, str],
    data: pd.DataFrame,
    further: Iterable[Figure] = (),
) -> None:
    """Write a figure as PDF and PNG, and the data that it shows as CSV.

    The files carry no date: the same data gives the same bytes.

    Args:
        further: more pages of the PDF.
    """
    with (
        whole(outputs["pdf"]) as part,
        PdfPages(part, metadata={"CreationDate": None}) as pdf,
    ):
        pdf.savefig(figure)
        with whole(outputs["png"]) as first:
            figure.savefig(first)
        plt.close(figure)
        # one after the other, so that one is held at a time
        for page in further:
            pdf.savefig(page)
            plt.close(page)
    write_table(outputs["csv"], data)
