"""The cost of steering, summed up."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.flags import few, joined, low_mass
from steerpaper.stats import (
    Estimate,
    Interval,
    clustered_interval,
    share_difference_interval,
    share_interval,
)
from steerpaper.steering.tables.flags import beyond_flags, vector_flags
from steerpaper.steering.tables.rows import groups

LARGEST = 700  # nats a token
KEYS = ["contrast", "layer", "layers", "direction", "multiplier"]


def cost_table(
    scores: pd.DataFrame, block: Mapping[str, Any], *, interval: Interval
) -> pd.DataFrame:
    """Perplexity of neutral text and accuracy on knowledge questions by multiplier.

    Args:
        scores: contrast (text, or how the questions are asked), item, layer, layers, direction,
            multiplier, norm, logprob, n_tokens (text) or logprob_wrong (questions).
        block: of `choose.best_block`.

    Returns:
        measure (perplexity or accuracy), contrast, layer, layers, direction, multiplier, n, value
        and change with intervals, flags. Perplexity is exp of the mean negative log-probability a
        token, texts drawn with all their tokens; its change is the factor against the unsteered
        model. Accuracy is the share of questions whose correct answer is likelier; its change is
        the difference. The unsteered row stands once for all directions.
    """
    rows = []
    for row, group in groups(scores, KEYS):
        unsteered = scores[(scores["contrast"] == row["contrast"]) & (scores["multiplier"] == 0)]
        base = unsteered.set_index("item").loc[group["item"]]
        text = row["contrast"] == "text"
        found = (_surprise if text else _right)(group, base, interval)
        # a perplexity that no float holds is none
        mean, low, high = (
            np.exp(np.where(one < LARGEST, one, np.nan)) if text else one for one in found
        )
        rows.append(
            {
                "measure": "perplexity" if text else "accuracy",
                **row,
                "n": len(group),
                **{"value": mean[0], "value_low": low[0], "value_high": high[0]},
                **{"change": mean[1], "change_low": low[1], "change_high": high[1]},
                "flags": joined(
                    *few(group["item"].nunique()),
                    *low_mass(_mass(unsteered, str(row["contrast"]))),
                    *beyond_flags(group),
                    *vector_flags(group, block),
                ),
            }
        )
    return pd.DataFrame(rows)


def _surprise(group: pd.DataFrame, base: pd.DataFrame, interval: Interval) -> Estimate:
    """Negative log-probability a token, and what it grows by: [2], over texts with their tokens."""
    weights = group["n_tokens"].to_numpy(dtype=float)
    values = [
        -group["logprob"] / weights,
        (base["logprob"].to_numpy() - group["logprob"]) / weights,
    ]
    texts = group["item"].to_numpy()
    return clustered_interval(np.stack(values, axis=1), texts, interval, weights=weights)


def _right(group: pd.DataFrame, base: pd.DataFrame, interval: Interval) -> Estimate:
    """How often the correct answer is likelier, and how much more often than unsteered: [2]."""
    right, was_right = (
        np.where(np.isfinite(lead), lead > 0, np.nan).astype(np.float64)
        for lead in (part["logprob"].to_numpy() - part["logprob_wrong"] for part in (group, base))
    )
    parts = share_interval(right, interval), share_difference_interval(right - was_right, interval)
    share, low, high = (np.array(one) for one in zip(*parts, strict=True))
    return share, low, high


def _mass(unsteered: pd.DataFrame, contrast: str) -> "pd.Series[float]":
    """p(A) + p(B) of every question; not-a-number where it is not asked by letters."""
    if contrast != "letters":
        return pd.Series(np.nan, index=unsteered.index)
    mass: pd.Series[float] = np.exp(unsteered["logprob"]) + np.exp(unsteered["logprob_wrong"])
    return mass
