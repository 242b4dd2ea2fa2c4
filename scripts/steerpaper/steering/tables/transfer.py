"""What a direction does at a block: a block's vector elsewhere, and the estimators' vectors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.stats import Interval, mean_interval, share_interval
from steerpaper.steering.conditions import UNSTEERED
from steerpaper.steering.slopes import anti_steerable, slopes
from steerpaper.steering.tables.controls import band_to_first_order
from steerpaper.steering.tables.flags import effect_flags
from steerpaper.steering.tables.rows import groups, of_measures


def transfer_table(
    scores: pd.DataFrame,
    block: Mapping[str, Any],
    *,
    interval: Interval,
    measures: Sequence[str],
) -> pd.DataFrame:
    """Steerability slope by the block that a vector comes from and the block it is added at.

    Args:
        scores: of one behaviour; a direction is the name of the block that its vector comes from.
        block: of `choose.best_block`.

    Returns:
        source, target, and what `slopes_by_direction` says; chosen: is the vector the chosen
        block's.
    """
    keys = ["direction", "layer"]
    table = of_measures(
        scores, measures, lambda part, name: slopes_by_direction(part, keys, name, block, interval)
    )
    table = table.rename(columns={"direction": "source", "layer": "target"})
    chosen = table["source"].isin(list(map(str, block["layers"])))
    return table.assign(chosen=chosen)[[*table.columns[:-1], "chosen", "measure"]]


def estimators_table(
    scores: pd.DataFrame,
    block: Mapping[str, Any],
    *,
    interval: Interval,
    measures: Sequence[str],
) -> pd.DataFrame:
    """Steerability slope of every estimator's vector, at its own block and at the chosen one.

    Args:
        scores: of one behaviour; a direction is an estimator's name (see `comparison.by_place`).
        block: of `choose.best_block`.

    Returns:
        estimator, at (own or chosen), layer, layers, norm_share (the vector's norm as a share of
        the residual stream's there), and what `slopes_by_direction` says.
    """
    keys = ["direction", "at", "layer", "layers", "norm_share"]
    table = of_measures(
        scores, measures, lambda part, name: slopes_by_direction(part, keys, name, block, interval)
    )
    return table.rename(columns={"direction": "estimator"})


def slopes_by_direction(
    scores: pd.DataFrame,
    keys: list[str],
    measure: str,
    block: Mapping[str, Any],
    interval: Interval,
) -> pd.DataFrame:
    """Mean steerability slope of every direction at every block, with its interval.

    Args:
        scores: prompt_id, matching, direction, multiplier, norm, control_sd, value of one behaviour
            and contrast, and the keys.
        keys: columns whose values a row of the result stands for.
        measure: what `value` is.
        block: of `choose.best_block`.

    Returns:
        the keys; n, slope, low, high (units per unit multiplier); anti_steerable, the share of
        items of negative slope, with anti_low and anti_high; control_low and control_high, between
        which a random direction's mean slope would lie to first order, known of the logit
        difference alone; flags.
    """
    unsteered = scores[scores["direction"] == UNSTEERED]
    base = unsteered.set_index("prompt_id")["value"]
    rows = []
    for row, part in groups(scores[scores["direction"] != UNSTEERED], keys):
        wide = part.pivot(index="prompt_id", columns="multiplier", values="value")
        values = np.column_stack([base.loc[wide.index].to_numpy(), wide.to_numpy()])
        slope = slopes(np.array([0.0, *wide.columns]), values)
        mean, low, high = map(float, mean_interval(slope, interval))
        share, anti_low, anti_high = map(float, share_interval(anti_steerable(slope), interval))
        control_low, control_high = band_to_first_order(part, measure, interval)
        rows.append(
            {
                **row,
                "n": len(slope),
                **{"slope": mean, "low": low, "high": high},
                **{"anti_steerable": share, "anti_low": anti_low, "anti_high": anti_high},
                **{"control_low": control_low, "control_high": control_high},
                "flags": effect_flags(unsteered, part, block),
            }
        )
    return pd.DataFrame(rows)
