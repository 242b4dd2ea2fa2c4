"""Slopes: how far an item's measure moves with the multiplier."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.steering.conditions import UNSTEERED

Floats = NDArray[np.float64]


def slopes(multipliers: Floats, scores: Floats) -> Floats:
    """Per-item steerability: the least-squares slope of the score on the multiplier.

    Tan et al. 2024 (arXiv 2407.12404), section 4.

    Args:
        multipliers: [condition].
        scores: [item, condition], in the measure's unit.

    Returns:
        [item], units per unit of multiplier.
    """
    centred = multipliers - multipliers.mean()
    slope: Floats = scores @ centred / (centred @ centred)
    return slope


def standardized_slopes(slopes: Floats) -> Floats:
    """Mean slope in units of its standard error, mean / (sd / √n), by block.

    Not-a-number for a single item, and where all items' slopes are the same.

    Args:
        slopes: [item, block].
    """
    n = len(slopes)
    mean = slopes.mean(axis=0)
    sd = slopes.std(axis=0, ddof=1) if n > 1 else np.full(mean.shape, np.nan)
    found: Floats = np.divide(mean, sd / np.sqrt(n), out=np.full(mean.shape, np.nan), where=sd > 0)
    return found


def anti_steerable(slope: Floats) -> Floats:
    """1 for an item that moves against the multiplier, 0 for another, whose mean is a share.

    Not-a-number for a slope that is none: it is on neither side.
    """
    found: Floats = np.where(np.isfinite(slope), slope < 0, np.nan)
    return found


def steered(scores: pd.DataFrame) -> list[tuple[int, str]]:
    """Every block and direction that the scores have, sorted; the unsteered run is none."""
    pairs = scores.loc[scores["direction"] != UNSTEERED, ["layer", "direction"]].drop_duplicates()
    return sorted((int(layer), str(direction)) for layer, direction in pairs.to_numpy())


def wide(
    scores: pd.DataFrame, layer: int, direction: str
) -> tuple[Floats, Floats, "pd.Index[Any]"]:
    """Items by multipliers of one block and direction, the unsteered run as multiplier 0.

    Args:
        scores: prompt_id, layer, direction, multiplier, value.

    Returns:
        multipliers [condition], values [item, condition], prompt ids [item].

    Raises:
        ValueError: a condition that an item has twice.
    """
    chosen = scores[
        (scores["direction"] == UNSTEERED)
        | ((scores["layer"] == layer) & (scores["direction"] == direction))
    ]
    table: Any = chosen.pivot(index="prompt_id", columns="multiplier", values="value")
    return table.columns.to_numpy(dtype=float), table.to_numpy(dtype=float), table.index
