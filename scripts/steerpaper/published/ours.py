"""What a study's tables hold of a published quantity: the number, its interval, its n."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.errors import UserError
from steerpaper.published.compare import Estimate, ks_interval
from steerpaper.published.numbers import Number
from steerpaper.published.registry import Ours, Quantity
from steerpaper.stats import Interval, clustered_interval


@dataclass(frozen=True)
class Found:
    """Our number beside a published one.

    Attributes:
        rows: how many numbers the table has of the setting; of more than one there is no
            estimate.
    """

    estimate: Estimate
    n: int | None
    rows: int = 1


def find(
    number: Number, quantity: Quantity, tables: Mapping[str, pd.DataFrame], interval: Interval
) -> Found | None:
    """Our number of a published one's quantity and setting; None where the study has none.

    Args:
        tables: the study's, by name.

    Raises:
        UserError: the registry names a column that its table lacks.
    """
    ours = quantity.ours
    settings = [quantity.keys[key] for key in number.setting]
    if ours is None or ours.table not in tables or any("none" in key for key in settings):
        return None
    table = tables[ours.table]
    _check_columns(number, quantity, ours, table)
    rows = table[_fits(number, quantity, ours, table)]
    rows = rows[rows[ours.value].notna()]
    if rows.empty:
        return None
    if ours.clusters:
        return _mean(rows, ours, interval)
    columns = [ours.value, *filter(None, (ours.low, ours.high, ours.n)), *ours.samples]
    distinct = rows[columns].drop_duplicates()
    if len(distinct) > 1:
        return Found(Estimate(math.nan), None, len(distinct))
    row = distinct.iloc[0]
    n = int(row[ours.n]) if ours.n and pd.notna(row[ours.n]) else None
    return Found(_estimate(row, ours, interval), n)


def _estimate(row: "pd.Series[float]", ours: Ours, interval: Interval) -> Estimate:
    value = float(row[ours.value])
    if ours.samples:
        n, m = (float(row[column]) for column in ours.samples)
        return ks_interval(value, n, m, interval.confidence)
    if not (ours.low and ours.high) or pd.isna(row[ours.low]) or pd.isna(row[ours.high]):
        return Estimate(value)
    return Estimate(value, float(row[ours.low]), float(row[ours.high]))


def _mean(rows: pd.DataFrame, ours: Ours, interval: Interval) -> Found:
    """The mean over rows; those of one cluster are not independent."""
    clusters = rows.groupby([*ours.clusters], dropna=False).ngroup().to_numpy()
    found = clustered_interval(rows[ours.value].to_numpy(dtype=float), clusters, interval)
    return Found(Estimate(*map(float, found)), len(rows))


def _check_columns(number: Number, quantity: Quantity, ours: Ours, table: pd.DataFrame) -> None:
    asked = [quantity.keys[key].get("column", "") for key in number.setting]
    named = [ours.value, ours.low, ours.high, ours.n, *ours.clusters, *ours.samples]
    lacking = [name for name in (*asked, *ours.where, *named) if name and name not in table]
    if lacking:
        raise UserError(
            f"{number.where}: quantity {number.quantity}: the table {ours.table} has no column "
            f"{lacking[0]}; it has {', '.join(map(str, table))}"
        )


def _fits(number: Number, quantity: Quantity, ours: Ours, table: pd.DataFrame) -> "pd.Series[bool]":
    """The rows of the quantity's table that have the published number's setting."""
    fits = pd.Series(True, index=table.index)
    for column, values in ours.where.items():
        fits &= _among(table[column], values)
    for key, text in number.setting.items():
        where = quantity.keys[key]
        if "column" in where:
            fits &= _among(table[where["column"]], where.get("values", {}).get(text, [text]))
    return fits


def _among(column: "pd.Series[float]", wanted: Sequence[Any]) -> "pd.Series[bool]":
    """The rows whose cell is one of some values; "" is an empty cell, and 1.0 is 1."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        numbers = pd.to_numeric(pd.Series(wanted, dtype=object), errors="coerce")
        among = column.isin(np.asarray(numbers.dropna(), dtype=float))
    else:
        among = column.astype(str).isin([str(value) for value in wanted])
    return (among & column.notna()) | (column.isna() & ("" in wanted))
