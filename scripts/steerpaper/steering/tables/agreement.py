"""Agreement of two raters beyond chance: Cohen's kappa, by numbers or labels, and its interval."""

from collections.abc import Sequence
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
        ratings: [thing, rater], two raters; [thing, rater, place] where a rating is a point, and
            (a - b)² a distance squared.

    Returns:
        kappa; not-a-number without things, and where both raters give one rating to all.
    """
    return float(_kappa(_sums(ratings).sum(axis=0)))


def labels_as_points(given: Sequence[Sequence[Any]], labels: Sequence[Any]) -> Floats:
    """Labels as points that lie equally far from each other: [thing, rater, place].

    Quadratic weights then count any two different labels alike: kappa is Cohen's own, unweighted.

    Args:
        given: [thing][rater] labels.
        labels: all that there may be.
    """
    places = [[labels.index(label) for label in of_thing] for of_thing in given]
    points: Floats = np.eye(len(labels))[np.array(places, dtype=int).reshape(-1, 2)]
    return points


def kappa_interval(
    ratings: Floats, clusters: NDArray[Any], interval: Interval
) -> tuple[float, float, float]:
    """Kappa with its interval; things of one cluster are not independent.

    Student's t with the jackknife's standard error, each cluster left out once, never beyond 1;
    below 5 clusters none. In simulations it held the truth in 91% to 96% of cases from 8 to 100
    clusters, a percentile bootstrap over clusters in 88% to 94% from 20 on.

    Args:
        ratings: as `weighted_kappa` takes them.
        clusters: [thing] what the things are clustered by.
    """
    names, where = np.unique(clusters, return_inverse=True)
    n = len(names)
    of_things = _sums(ratings)
    sums = np.zeros((n, *of_things.shape[1:]))
    np.add.at(sums, where, of_things)
    kappa = float(_kappa(sums.sum(axis=0)))
    without = _kappa(sums.sum(axis=0) - sums)
    if n < LEAST or not np.isfinite([kappa, *without]).all():
        return kappa, float("nan"), float("nan")
    half = interval.t(n - 1) * float(np.sqrt((n - 1) * without.var()))
    return kappa, kappa - half, min(kappa + half, 1.0)


def _sums(ratings: Floats) -> Floats:
    """What a kappa is made of, of every thing: [thing, (1, a, b, a², b², (a - b)²), place]."""
    points = ratings if ratings.ndim == 3 else ratings[..., None]
    a, b = points[:, 0], points[:, 1]
    return np.stack([np.ones(a.shape), a, b, a**2, b**2, (a - b) ** 2], axis=1)


def _kappa(sums: Floats) -> Floats:
    """Kappa of sums over things [..., 6, place]: [...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        n, a, b, a2, b2, apart = np.moveaxis(sums, -2, 0)
        squares = ((a2 + b2) / n).sum(axis=-1)
        by_chance = ((a2 + b2) / n - 2 * (a / n) * (b / n)).sum(axis=-1)
        # rounding may leave a speck of what is nothing
        by_chance = np.where(by_chance > 1e-9 * squares, by_chance, np.nan)
        kappa: Floats = 1 - (apart / n).sum(axis=-1) / by_chance
    return kappa
