"""A vector's slope beside those of controls: random directions, and labels dealt anew."""

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import shapiro

from steerpaper.stats import Interval, against_controls, control_band, rank_p
from steerpaper.steering.conditions import BEHAVIOR, kind_of
from steerpaper.steering.slopes import anti_steerable, slopes, steered, wide

# of what the gradients are that control directions are drawn from
FIRST_ORDER = "logit_diff"


def controls_table(scores: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """The behaviour's mean slope against each kind of control's, at every block that has them.

    Args:
        scores: prompt_id, layer, layers, direction, multiplier, value.

    Returns:
        layer, kind, and what `compared` gives.
    """
    kinds = {(layer, kind_of(direction)) for layer, direction in steered(scores)}
    rows = [
        {"layer": layer, "kind": kind, **compared(scores, layer, kind, interval)}
        for layer, kind in sorted((layer, kind) for layer, kind in kinds if kind)
    ]
    return pd.DataFrame(rows)


def compared(scores: pd.DataFrame, layer: int, kind: str, interval: Interval) -> dict[str, Any]:
    """One kind of control at a block, over the multipliers that all directions have there.

    A slope over a wider range is another quantity where the response is no line.

    Returns:
        directions (their number), multipliers (as text), n (items), slope (the behaviour's mean),
        mean and sd (of the controls' mean slopes), low and high (see `band_of`), p (Student's t, of
        random directions alone) and p_rank (see `stats`), p_rank_least (what the rank cannot go
        below), anti_steerable (mean share of the items that a control moves against the
        multiplier), p_normal (Shapiro and Wilk's test that the controls' slopes are normal).
    """
    names = [name for block, name in steered(scores) if block == layer]
    names = [name for name in names if name == BEHAVIOR or kind_of(name) == kind]
    found = {name: wide(scores, layer, name) for name in names}
    common = sorted(set.intersection(*(set(multipliers) for multipliers, _, _ in found.values())))
    moved = {
        name: slopes(np.array(common), values[:, np.isin(multipliers, common)])
        if len(common) > 1
        else np.full(len(values), np.nan)
        for name, (multipliers, values, _) in found.items()
    }
    effect = float(moved.pop(BEHAVIOR).mean())
    means = np.array([slope.mean() for slope in moved.values()])
    low, high = band_of(kind, means, interval)
    return {
        "directions": len(means),
        "multipliers": " ".join(f"{multiplier:g}" for multiplier in common),
        "n": scores["prompt_id"].nunique(),
        **{"slope": effect, "mean": means.mean()},
        "sd": means.std(ddof=1) if len(means) > 1 else np.nan,
        **{"low": low, "high": high},
        "p": against_controls(effect, means) if kind == "random" else np.nan,
        "p_rank": rank_p(effect, means),
        "p_rank_least": 1 / (1 + len(means)),
        "anti_steerable": np.mean([anti_steerable(slope).mean() for slope in moved.values()]),
        "p_normal": _p_normal(means),
    }


def band_of(kind: str, means: Any, interval: Interval) -> tuple[float, float]:
    """Where controls' mean effects lie: [control] -> low, high.

    Of random directions, between what one more would lie with the interval's confidence. Vectors
    of labels dealt anew are not normal where the differences share a mean: theirs is the range of
    those that were measured.
    """
    if kind == "random":
        return control_band(means, interval)
    return float(np.min(means)), float(np.max(means))


def band_to_first_order(
    part: pd.DataFrame, measure: str, interval: Interval
) -> tuple[float, float]:
    """Between what the mean slope of one more random direction would lie, to first order.

    Args:
        part: control_sd (see `first_order.random_spread`), the same in every row.

    Returns:
        not-a-number of another measure than the logit difference, which the gradients are of.
    """
    if measure != FIRST_ORDER:
        return float("nan"), float("nan")
    # normal over directions of many dimensions
    half = NormalDist().inv_cdf(1 - interval.tail) * float(part["control_sd"].iloc[0])
    return -half, half


def _p_normal(means: Any) -> float:
    if len(means) < 3 or not np.isfinite(means).all() or not np.ptp(means) > 0:
        return float("nan")
    return float(shapiro(means).pvalue)
