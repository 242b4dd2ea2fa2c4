"""Steering's effect: slopes and changes by block, direction and multiplier."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.stats import (
    Floats,
    Interval,
    against_controls,
    benjamini_hochberg,
    holm,
    mean_interval,
    rank_p,
)
from steerpaper.steering.conditions import BEHAVIOR, UNSTEERED
from steerpaper.steering.slopes import anti_steerable, slopes, steered, wide
from steerpaper.steering.tables.rows import of_measures

LETTERS = "AB"


def effect_tables(
    scores: pd.DataFrame, block: Mapping[str, Any], *, interval: Interval, measures: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """All tables of one behaviour's and contrast's scores.

    Args:
        scores: dev and test (see `conditions.score_rows`).
        block: of `choose.best_block`.
    """
    dev, test = (scores[scores["split"] == split] for split in ("dev", "test"))

    def slope_of(part: pd.DataFrame, name: str) -> pd.DataFrame:
        return slope_table(part, interval)

    def change_of(part: pd.DataFrame, name: str) -> pd.DataFrame:
        return change_table(part, name, interval)

    return {
        "layer_sweep": of_measures(dev, measures, slope_of),
        "heatmap": of_measures(dev, measures, change_of),
        "dose_response": of_measures(test, measures, change_of),
        "steerability": of_measures(
            test, measures, lambda part, name: slope_of(part, name).assign(chosen=block["chosen"])
        ),
        "steerability_items": of_measures(test, measures, lambda part, name: item_slopes(part)),
    }


def slope_table(scores: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Steerability per block and direction: mean slope and anti-steerable share with intervals.

    For letters also the mean slope of the items whose matching letter is A, and is B: their
    difference is the position bias of Tan et al. 2024 (arXiv 2407.12404), section 5.
    For the behaviour's direction also p-values of its slope against the random directions', both
    over the multipliers that all of them have: `p_items` by Student's t, `p_directions` by rank;
    and `p_items` corrected over the table's blocks, by Holm and by Benjamini and Hochberg.

    Args:
        scores: prompt_id, matching, layer, layers, direction, multiplier, value.
    """
    letter = scores.drop_duplicates("prompt_id").set_index("prompt_id")["matching"]
    names = _names(scores)
    rows = []
    for layer, direction in steered(scores):
        multipliers, values, items = wide(scores, layer, direction)
        slope = slopes(multipliers, values)
        mean, low, high = mean_interval(np.stack([slope, anti_steerable(slope)], axis=1), interval)
        letters = letter.loc[items].to_numpy()
        p_items = p_directions = np.nan
        if direction == BEHAVIOR:
            p_items, p_directions = _against_random(scores, layer)
        row = {
            "layer": layer,
            "layers": names[layer],
            "direction": direction,
            "n": len(slope),
            **{"slope": mean[0], "low": low[0], "high": high[0]},
            **{"anti_steerable": mean[1], "anti_low": low[1], "anti_high": high[1]},
        }
        for name in LETTERS:
            found = _interval(slope[letters == name], interval)
            row |= {f"{column}_{name.lower()}": value for column, value in found.items()}
        rows.append({**row, "p_items": p_items, "p_directions": p_directions})
    table = pd.DataFrame(rows)
    return table.assign(
        p_holm=holm(table["p_items"].to_numpy()),
        p_bh=benjamini_hochberg(table["p_items"].to_numpy()),
    )


def _against_random(scores: pd.DataFrame, layer: int) -> tuple[float, float]:
    """Two p-values of the behaviour's slope at a block against the random directions' there."""
    directions = [direction for block, direction in steered(scores) if block == layer]
    found = {direction: wide(scores, layer, direction) for direction in directions}
    # a slope over a wider range is another quantity where the response is not a line
    common = sorted(set.intersection(*(set(multipliers) for multipliers, _, _ in found.values())))
    if len(common) < 2:
        return np.nan, np.nan
    moved = {
        direction: slopes(np.array(common), values[:, np.isin(multipliers, common)])
        for direction, (multipliers, values, _) in found.items()
    }
    controls = [slope for direction, slope in moved.items() if direction != BEHAVIOR]
    if not controls:
        return np.nan, np.nan
    effect = float(moved[BEHAVIOR].mean())
    means = np.array([control.mean() for control in controls])
    return against_controls(effect, means), rank_p(effect, means)


def item_slopes(scores: pd.DataFrame) -> pd.DataFrame:
    """Steerability of every item: layer, layers, direction, prompt_id, matching (letter), slope."""
    letter = scores.drop_duplicates("prompt_id").set_index("prompt_id")["matching"]
    names = _names(scores)
    tables = []
    for layer, direction in steered(scores):
        multipliers, values, items = wide(scores, layer, direction)
        columns = {
            "layer": layer,
            "layers": names[layer],
            "direction": direction,
            "prompt_id": items,
            "matching": letter.loc[items].to_numpy(),
            "slope": slopes(multipliers, values),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def change_table(scores: pd.DataFrame, measure: str, interval: Interval) -> pd.DataFrame:
    """Mean of a measure and its change from the unsteered run, per block × multiplier.

    The mean's columns have the measure's name.
    """
    names = _names(scores)
    tables = []
    for layer, direction in steered(scores):
        multipliers, values, _ = wide(scores, layer, direction)
        change = values - values[:, multipliers == 0]
        mean, low, high = mean_interval(np.stack([values, change], axis=1), interval)
        columns = {
            "layer": layer,
            "layers": names[layer],
            "direction": direction,
            "multiplier": multipliers,
            "n": len(values),
            **{measure: mean[0], f"{measure}_low": low[0], f"{measure}_high": high[0]},
            **{"change": mean[1], "change_low": low[1], "change_high": high[1]},
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _names(scores: pd.DataFrame) -> "pd.Series[str]":
    """The set of blocks as text, by its first block."""
    blocks = scores[scores["direction"] != UNSTEERED]
    return blocks.drop_duplicates("layer").set_index("layer")["layers"]


def _interval(slope: Floats, interval: Interval) -> dict[str, float]:
    """Number, mean and interval of some items' slopes; without items, not-a-number."""
    mean = low = high = np.nan
    if len(slope):
        mean, low, high = map(float, mean_interval(slope, interval))
    return {"n": len(slope), "slope": mean, "low": low, "high": high}
