"""Ratings of completions by multiplier, and how far judges agree with each other."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.flags import few, joined, unparsed
from steerpaper.stats import Interval, clustered_interval
from steerpaper.steering.tables.agreement import kappa_interval
from steerpaper.steering.tables.flags import block_flags
from steerpaper.steering.tables.rows import groups

AGREEMENT = ["first", "second", "kappa", "low", "high", "n", "questions", "flags"]
COMPLETION = ["prompt_id", "multiplier", "decoding", "sample"]


def ratings_tables(
    ratings: pd.DataFrame, block: Mapping[str, Any], *, interval: Interval
) -> dict[str, pd.DataFrame]:
    """Mean rating of a behaviour's completions by judge and multiplier, and the judges' agreement.

    All of a judge's passes and all of a question's completions count alike; intervals take a
    question's ratings together.

    Args:
        ratings: prompt_id, multiplier, decoding, sample, judge, pass, rating (not-a-number where an
            answer was none), lowest, highest (of the scale).
        block: of `choose.best_block`, of the vector that steers.

    Returns:
        ratings: judge, multiplier, value (the mean), low, high, n (ratings), questions, unparsed,
            lowest, highest, flags.
        rating_agreement: first, second, kappa, low, high, n (completions), questions, flags; no row
            where there is one judge that is asked once.
    """
    rows = [
        {**keys, **_mean(group, block if keys["multiplier"] else {}, interval)}
        for keys, group in groups(ratings, ["judge", "multiplier"])
    ]
    raters = {
        _rater(keys, ratings): group.set_index(COMPLETION)["rating"]
        for keys, group in groups(ratings, ["judge", "pass"])
    }
    pairs = [
        {"first": first, "second": second, **_agreement(raters[first], raters[second], interval)}
        for first, second in combinations(raters, 2)
    ]
    return {
        "ratings": pd.DataFrame(rows),
        "rating_agreement": pd.DataFrame(pairs, columns=AGREEMENT),
    }


def _mean(group: pd.DataFrame, block: Mapping[str, Any], interval: Interval) -> dict[str, Any]:
    """One row; the block is empty of the unsteered run."""
    known = group.dropna(subset=["rating"])
    clusters = known["prompt_id"].to_numpy()
    value, low, high = clustered_interval(known["rating"].to_numpy(), clusters, interval)
    questions, missing = known["prompt_id"].nunique(), len(group) - len(known)
    return {
        **{"value": float(value), "low": float(low), "high": float(high)},
        **{"n": len(known), "questions": questions, "unparsed": missing},
        **{end: float(group[end].iloc[0]) for end in ("lowest", "highest")},
        "flags": joined(*few(questions), *unparsed(missing, len(group)), *block_flags(block)),
    }


def _rater(keys: dict[str, Any], ratings: pd.DataFrame) -> str:
    """A judge's name, with its pass where it has several."""
    passes = ratings[ratings["judge"] == keys["judge"]]["pass"].nunique()
    return f"{keys['judge']}, pass {keys['pass']}" if passes > 1 else str(keys["judge"])


def _agreement(
    first: "pd.Series[float]", second: "pd.Series[float]", interval: Interval
) -> dict[str, Any]:
    """Agreement on the completions that both have rated."""
    both = pd.DataFrame({"first": first, "second": second}).dropna()
    clusters = both.index.get_level_values("prompt_id").to_numpy()
    kappa, low, high = kappa_interval(both.to_numpy(dtype=np.float64), clusters, interval)
    questions = len(np.unique(clusters))
    return {
        **{"kappa": kappa, "low": low, "high": high, "n": len(both), "questions": questions},
        "flags": joined(*few(questions)),
    }
