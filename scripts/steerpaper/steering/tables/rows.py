"""What the summaries share: groups of rows, labels, means with intervals under a column's name."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import pandas as pd

from steerpaper.stats import Interval, clustered_interval
from steerpaper.steering.measures import MEASURES


def groups(table: pd.DataFrame, keys: list[str]) -> Iterable[tuple[dict[str, Any], pd.DataFrame]]:
    """The table's rows by their values of some columns, in the order of their first appearance.

    Missing values are a value.
    """
    for values, group in table.groupby(keys, sort=False, dropna=False):
        named: Sequence[Hashable] = values if isinstance(values, tuple) else (values,)
        yield dict(zip(keys, named, strict=True)), group


def labelled(table: pd.DataFrame, **labels: str) -> pd.DataFrame:
    """The table with a column for every label before its own."""
    return pd.concat([pd.DataFrame(labels, index=table.index), table], axis=1)


def means(
    rows: pd.DataFrame, columns: dict[str, str], cluster: str, interval: Interval
) -> dict[str, float]:
    """Mean and interval of each column, under its new name, over the rows that have a value."""
    known = rows.dropna(subset=list(columns))
    mean, low, high = clustered_interval(
        known[list(columns)].to_numpy(dtype=float), known[cluster].to_numpy(), interval
    )
    found: dict[str, float] = {}
    for number, name in enumerate(columns.values()):
        found |= {name: mean[number], f"{name}_low": low[number], f"{name}_high": high[number]}
    return found


def measured(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The table of scores with a measure's numbers in the column `value`."""
    return scores.assign(value=MEASURES[measure].of(scores))


def of_measures(
    scores: pd.DataFrame,
    measures: Sequence[str],
    make: Callable[[pd.DataFrame, str], pd.DataFrame],
) -> pd.DataFrame:
    """One table a measure, below each other, each with the measure's name in the last column.

    Args:
        make: (scores with the measure's numbers in the column `value`, its name) -> table.
    """
    tables = [make(measured(scores, name), name).assign(measure=name) for name in measures]
    return pd.concat(tables, ignore_index=True)
