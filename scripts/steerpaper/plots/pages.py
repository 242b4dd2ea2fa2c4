"""Which pages a figure has: of more than a few behaviours it has a form of its own.

Neither matplotlib nor pandas is imported with this module: the captions too ask for `MANY`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    Draw = Callable[..., Figure]

PAGE = 7.0  # inches: both columns of a page
HIGH = 10.8  # inches: a sheet, less the line that says which behaviours are on it
MANY = 8  # behaviours; of more, panels of one behaviour each are no longer read with ease


def names_of(table: pd.DataFrame) -> list[str]:
    """The table's behaviours, in order; none where a row is no behaviour's."""
    return list(table["behavior"].unique()) if "behavior" in table else []


def pages(
    draw: Draw,
    draw_many: Draw | None,
    tables: Sequence[pd.DataFrame],
    *,
    cut: bool,
    further: bool,
) -> Iterator[Figure]:
    """A figure's pages, one at a time, the one that stands for it first.

    Args:
        draw: draws the figure of a few behaviours.
        draw_many: draws it of many; without it, as many of the first as fit a page are drawn and
            counted, where the figure can be cut.
        tables: what either is given; those with behaviours are cut by them.
        cut: has it panels of single behaviours, which can be drawn up to `MANY` at a time?
        further: put these on further pages.
    """
    names = names_of(tables[0])
    if len(names) <= MANY or not (draw_many or cut):
        yield draw(*tables)
        return
    if draw_many:
        yield draw_many(*tables)
    if not cut or (draw_many and not further):
        return
    for first in range(0, len(names), MANY):
        for some, figure in _fitting(draw, tables, names[first : first + MANY]):
            place = names.index(some[0]) + 1
            if figure.get_layout_engine():
                # as wide as a page: real names are long
                figure.set_figwidth(PAGE)
            _head(figure, f"behaviours {place} to {place + len(some) - 1} of {len(names)}")
            yield figure
            if not further:
                return


def _fitting(
    draw: Draw, tables: Sequence[pd.DataFrame], names: list[str]
) -> Iterator[tuple[list[str], Figure]]:
    """Some behaviours' figure; where it is higher than a page, one of each half of them."""
    from matplotlib import pyplot as plt

    figure = draw(*(_of(table, names) for table in tables))
    if figure.get_figheight() <= HIGH or len(names) == 1:
        yield names, figure
        return
    plt.close(figure)
    half = math.ceil(len(names) / 2)
    yield from _fitting(draw, tables, names[:half])
    yield from _fitting(draw, tables, names[half:])


def _of(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows of some behaviours; the whole table where it has none."""
    return table[table["behavior"].isin(names)] if "behavior" in table else table


def _head(figure: Figure, text: str) -> None:
    """Put a line above all panels."""
    if figure.legends:
        # a layout makes room for one thing there
        title = figure.legends[0].get_title()
        figure.legends[0].set_title(f"{text}\n{title.get_text()}".strip())
        title.set_fontsize(7)
    elif figure.get_layout_engine():
        figure.suptitle(text, fontsize=7)
    else:
        _raised(figure, 0.2)
        figure.text(0.5, 0.997, text, ha="center", va="top", fontsize=7)


def _raised(figure: Figure, inches: float) -> None:
    """Make a figure higher; its axes keep their sizes and their distance from below."""
    before = figure.get_figheight()
    share = before / (before + inches)
    for ax in figure.axes:
        box = ax.get_position()
        ax.set_position((box.x0, box.y0 * share, box.width, box.height * share))
    figure.set_figheight(before + inches)
