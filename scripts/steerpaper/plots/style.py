"""The look of all figures, their sizes, and how they are saved."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steerpaper.workflow.files import whole, write_table

mpl.use("Agg")
plt.style.use(Path(__file__).with_name("paper.mplstyle"))

COLUMN = 3.4  # inches: one column of a two-column paper
# the colour-blind safe palette of Wong 2011, as seaborn has it
COLOURS = sns.color_palette("colorblind")
GREY = "0.45"


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


def save(figure: Figure, outputs: Mapping[str, str], data: pd.DataFrame) -> None:
    """Write a figure as PDF and PNG, and the data that it shows as CSV.

    The files carry no date: the same data gives the same bytes.
    """
    for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {})):
        with whole(outputs[kind]) as part:
            figure.savefig(part, metadata=metadata)
    write_table(outputs["csv"], data)
    plt.close(figure)
