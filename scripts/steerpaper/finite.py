"""Numbers of the model that are none: refused where they are written, before a table sums them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from steerpaper.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

WAY_OUT = (
    "the model's numbers ran over: set dtype: float32 or bfloat16 where it is float16, and lower "
    "the multipliers where it is steered"
)
# what says which row it is
LABELS = {
    "behavior": "behaviour",
    "contrast": "contrast",
    "prompt_id": "prompt",
    "item": "item",
    "direction": "direction",
    "layers": "block",
    "layer": "block",
    "neuron": "neuron",
    "head_layer": "head of block",
    "head": "head",
    "multiplier": "multiplier",
}


def finite(path: str | Path, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """A table that is to be written; its numbers in some columns are all finite.

    Args:
        path: where it will be, for the message.

    Raises:
        UserError: names the file, the first row whose number is not finite, and how many there are.
    """
    good = np.isfinite(table[list(columns)].to_numpy(dtype=float))
    bad = np.flatnonzero(~good.all(axis=1))
    if not len(bad):
        return table
    row = table.iloc[bad[0]]
    column = columns[int(np.argmin(good[bad[0]]))]
    labels = [name for name in LABELS if name in table and row[name] != ""]
    if "layers" in labels:
        labels.remove("layer")  # the first of the set
    place = ", ".join(f"{LABELS[name]} {_label(row[name])}" for name in labels)
    raise UserError(
        f"{path}: {column} is {row[column]} ({place}; {len(bad)} of {len(table)} rows have such "
        f"numbers): {WAY_OUT}"
    )


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
