"""A first look at all blocks: slopes to first order, beside what controls would do there."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.stats import Floats, Interval, mean_interval
from steerpaper.steering.chance import by_chance
from steerpaper.steering.conditions import BEHAVIOR, KINDS
from steerpaper.steering.first_order import first_order_slopes
from steerpaper.steering.slopes import slopes, standardized_slopes, steered, wide
from steerpaper.steering.tables.rows import measured

DRAWS = 1000  # directions a kind and block
Arrays = Mapping[str, NDArray[np.floating]]


def first_order_table(
    scores: pd.DataFrame,
    gradients: Arrays,
    differences: NDArray[np.floating],
    vector: NDArray[np.floating],
    block: Mapping[str, Any],
    *,
    interval: Interval,
) -> pd.DataFrame:
    """First-order slopes of the logit difference at every block, on dev and on test.

    A vector's slope is to first order its product with the gradient of an item's logit difference
    (see `engine.gradients`). Of the controls, many are drawn at every block.

    Args:
        scores: dev and test, for the measured slopes beside.
        gradients: dev and test, [item, L, d], in the order of the scores.
        differences: [train item, L, d] matching - other.
        vector: [L, d], the one that steers.
        block: of `choose.best_block`.

    Returns:
        split, layer, n, slope, low, high, standardized, and by kind of control its band: between
        what the mean slopes of the central share of the draws lie, random_low, random_high,
        shuffled_low, shuffled_high; measured (the mean slope that was measured at this block, if
        it was) and measured_r (its correlation over the items with the first-order slope); chosen.
    """
    vector = vector.astype(np.float64)
    norms = np.linalg.norm(vector, axis=1)
    every = range(len(norms))
    rows = []
    for split in ("dev", "test"):
        of_items = gradients[split]
        if not len(of_items):  # where the block is given there may be no dev items
            continue
        seed, what = interval.seed, [split]
        null = by_chance(of_items, differences, norms, every, draws=DRAWS, seed=seed, what=what)
        found = measured_slopes(scores[scores["split"] == split])
        for layer in every:
            slope = first_order_slopes(of_items[:, layer], vector[layer])
            mean, low, high = map(float, mean_interval(slope, interval))
            row: dict[str, Any] = {"split": split, "layer": layer, "n": len(slope)}
            row |= {"slope": mean, "low": low, "high": high}
            row["standardized"] = standardized_slopes(slope[:, None])[0]
            for kind in KINDS:
                below, above = interval.of(null[kind][layer].mean(axis=1))
                row |= {f"{kind}_low": below, f"{kind}_high": above}
            row |= agreement(slope, found.get(layer))
            rows.append({**row, "chosen": layer in block["layers"]})
    return pd.DataFrame(rows)


def measured_slopes(scores: pd.DataFrame) -> dict[int, Floats]:
    """The items' measured slopes of the behaviour's direction, by block, in the scores' order."""
    scores = measured(scores, "logit_diff")
    order = scores["prompt_id"].unique()
    found: dict[int, Floats] = {}
    for layer, direction in steered(scores):
        if direction == BEHAVIOR:
            multipliers, values, items = wide(scores, layer, direction)
            place = {item: number for number, item in enumerate(items)}
            found[layer] = slopes(multipliers, values)[[place[item] for item in order]]
    return found


def agreement(first_order: Floats, measured: Floats | None) -> dict[str, float]:
    """The measured mean slope, and its correlation over the items with the first-order one."""
    if measured is None:
        return {"measured": np.nan, "measured_r": np.nan}
    spread = len(measured) > 2 and np.ptp(measured) > 0 and np.ptp(first_order) > 0
    r = float(np.corrcoef(first_order, measured)[0, 1]) if spread else np.nan
    return {"measured": float(measured.mean()), "measured_r": r}
