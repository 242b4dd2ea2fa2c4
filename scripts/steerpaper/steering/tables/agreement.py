"""Agreement of two raters beyond chance: Cohen's kappa with quadratic weights, and its interval."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerpaper.stats import LEAST, Floats, Interval


def weighted_kappa(ratings: Floats) -> float:
    """Cohen's kappa with quadratic weights of two raters' ratings of the same things.

    1 - mean of (a - b)² over the things / mean of (a - b)² over all pairs of one's a with the
    other's b (Cohen 1968). Ratings count as numbers: on the whole numbers of a scale this is the
    kappa of its categories.

    Args:
        ratings: [thing, rater], two raters.

    Returns:
        kappa; not-a-number without things, and where both raters give one rating to all.
    """
    return float(_kappa(_sums(ratings).sum(axis=0)))


def kappa_interval(
    ratings: Floats, clusters: NDArray[Any], interval: Interval
) -> tuple[float, float, float]:
    """Kappa with its interval; things of one cluster are not independent.

    Student's t with the jackknife's standard error, each cluster left out once, never beyond 1;
    below 5 clusters none. In simulations it held the truth in 91% to 96% of cases from 8 to 100
    clusters, a percentile bootstrap over clusters in 88% to 94% from 20 on.

    Args:
        ratings: [thing, rater], two raters.
        clusters: [thing] what the things are clustered by.
    """
    names, where = np.unique(clusters, return_inverse=True)
    n = len(names)
    sums = np.zeros((n, 6))
    np.add.at(sums, where, _sums(ratings))
    kappa = float(_kappa(sums.sum(axis=0)))
    without = _kappa(sums.sum(axis=0) - sums)
    if n < LEAST or not np.isfinite([kappa, *without]).all():
        return kappa, float("nan"), float("nan")
    half = interval.t(n - 1) * float(np.sqrt((n - 1) * without.var()))
    return kappa, kappa - half, min(kappa + half, 1.0)


def _sums(ratings: Floats) -> Floats:
    """What a kappa is made of, of every thing: [thing, (1, a, b, a², b², (a - b)²)]."""
    a, b = ratings[:, 0], ratings[:, 1]
    return np.stack([np.ones(len(a)), a, b, a**2, b**2, (a - b) ** 2], axis=1)


def _kappa(sums: Floats) -> Floats:
    """Kappa of sums over things [..., 6]: [...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        n, a, b, a2, b2, apart = np.moveaxis(sums, -1, 0)
        by_chance = (a2 + b2) / n - 2 * (a / n) * (b / n)
        # rounding may leave a speck of what is nothing
        by_chance = np.where(by_chance > 1e-9 * (a2 + b2) / n, by_chance, np.nan)
        kappa: Floats = 1 - apart / n / by_chance
    return kappa
