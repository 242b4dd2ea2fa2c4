"""What a direction does at a block: a block's vector elsewhere, and the estimators' vectors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.stats import Interval, mean_interval
from steerpaper.steering.conditions import UNSTEERED
from steerpaper.steering.slopes import anti_steerable, slopes
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
        source, target, n, slope, low, high, anti_steerable, chosen (is it the chosen block's).
    """
    table = of_measures(scores, measures, lambda part, _: slopes_by_direction(part, interval))
    table = table.drop(columns="layers").rename(columns={"direction": "source", "layer": "target"})
    chosen = table["source"].isin(list(map(str, block["layers"])))
    return table.assign(chosen=chosen)[[*table.columns[:-1], "chosen", "measure"]]


def estimators_table(
    scores: pd.DataFrame, *, interval: Interval, measures: Sequence[str]
) -> pd.DataFrame:
    """Steerability slope of every estimator's vector at the chosen block.

    Returns:
        estimator, layer, layers, n, slope, low, high, anti_steerable.
    """
    table = of_measures(scores, measures, lambda part, _: slopes_by_direction(part, interval))
    return table.rename(columns={"direction": "estimator"})


def slopes_by_direction(scores: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Mean steerability slope of every direction at every block, with a bootstrap interval.

    Args:
        scores: prompt_id, direction, layer, layers, multiplier, value of one behaviour and
            contrast.

    Returns:
        direction, layer, layers, n, slope, low, high (units per unit multiplier), and
        anti_steerable, the share of items of negative slope.
    """
    unsteered = scores["direction"] == UNSTEERED
    base = scores[unsteered].set_index("prompt_id")["value"]
    rows = []
    for row, part in groups(scores[~unsteered], ["direction", "layer", "layers"]):
        wide = part.pivot(index="prompt_id", columns="multiplier", values="value")
        values = np.column_stack([base.loc[wide.index].to_numpy(), wide.to_numpy()])
        slope = slopes(np.array([0.0, *wide.columns]), values)
        mean, low, high = map(float, mean_interval(slope, interval))
        share = float(anti_steerable(slope).mean())
        found = {"slope": mean, "low": low, "high": high, "anti_steerable": share}
        rows.append({**row, "n": len(slope), **found})
    return pd.DataFrame(rows)
