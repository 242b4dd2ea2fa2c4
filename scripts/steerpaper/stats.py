"""Statistics on tables of scores: pure functions on arrays, items along the first axis.

docs/statistics.md says why these, and how often their intervals hold the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from steerpaper.seeds import stream

Floats = NDArray[np.float64]
# estimate, low, high
Estimate = tuple[Floats, Floats, Floats]

# clusters from which intervals are made at all, and from which by bootstrap
LEAST = 5
BOOTSTRAP = 20


@dataclass(frozen=True)
class Interval:
    """How intervals are made.

    Attributes:
        seed: of the bootstrap's draws.
        resamples: number of draws.
        confidence: share of the draws that an interval holds.
    """

    seed: int
    resamples: int
    confidence: float

    def draws(self, n: int) -> NDArray[np.int64]:
        """How often each of n items is drawn: [draw, n], not to be written to."""
        return _draws(self.seed, self.resamples, n)

    def of(self, means: Floats) -> tuple[Floats, Floats]:
        """The interval of draws [draw, ...]: low and high [...]."""
        low, high = np.quantile(means, [self.tail, 1 - self.tail], axis=0)
        return low, high

    @property
    def tail(self) -> float:
        """The share beyond either end."""
        return (1 - self.confidence) / 2

    def t(self, degrees: float) -> float:
        """Student's quantile: an interval is an estimate ± so many standard errors."""
        return float(stats.t.isf(self.tail, degrees))


# a table has many intervals over equally many items; of very many items one is enough to hold
@lru_cache(maxsize=1)
def _draws(seed: int, resamples: int, n: int) -> NDArray[np.int64]:
    generator = stream(seed, "bootstrap", n)
    counts: NDArray[np.int64] = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    counts.setflags(write=False)
    return counts


def _finite(values: Floats) -> Floats:
    """The values with not-a-number for what is not finite: a mean of it is empty, not infinite."""
    found: Floats = np.where(np.isfinite(values), values, np.nan)
    return found


def mean_interval(values: Floats, interval: Interval) -> Estimate:
    """Mean over items with its interval.

    From 20 items on a percentile bootstrap, items drawn with replacement; below Student's t; below
    5 none. All columns of `values` are resampled together, so that they stay paired.

    Args:
        values: [item, ...].

    Returns:
        mean, low, high: each [...]; not-a-number where one of a column's values is not finite, and
        without items.
    """
    return clustered_interval(values, np.arange(len(values)), interval)


def clustered_interval(
    values: Floats,
    clusters: NDArray[Any],
    interval: Interval,
    *,
    weights: Floats | None = None,
) -> Estimate:
    """Weighted mean over rows with its interval; rows of one cluster are not independent.

    From 20 clusters on whole clusters are drawn with all their rows (Davison and Hinkley 1997,
    section 3.8); below that Student's t with the jackknife's standard error, each cluster left out
    once (Cochran 1977, section 6.17), and one degree of freedom less than there are clusters; below
    5 none. Clusters of unequal weight w count for as many as (Σw)² / Σw² equal ones (Kish 1965),
    and where that is below 2 there is none: one cluster is nearly all.

    Args:
        values: [row, ...].
        clusters: [row] what the rows are clustered by.
        weights: [row] how often a row counts, >= 0; 1 without it. A cluster without weight is none.

    Returns:
        mean, low, high: each [...]; all not-a-number where there is no row of positive weight.
    """
    shape = values.shape[1:]
    total, size = _by_cluster(values, clusters, weights)
    if not len(size):
        return _nothing(shape)
    mean = total.sum(axis=0) / size.sum()
    low, high = _ratio_interval([(total, size)], mean, interval)
    return mean.reshape(shape), low.reshape(shape), high.reshape(shape)


def difference_interval(
    values: Floats,
    weights: Floats,
    other_values: Floats,
    other_weights: Floats,
    interval: Interval,
) -> Estimate:
    """Difference of two weighted means over the same clusters, with its interval.

    Both means are taken over the same clusters, so that what a cluster's rows share does not widen
    the interval. Draws in which either mean has no weight are left out.

    Args:
        values, other_values: [cluster, ...] each cluster's mean.
        weights, other_weights: [cluster] the number of rows behind it, >= 0.

    Returns:
        difference, low, high: each [...]; all not-a-number where either has no weight at all. What
        counts are the clusters of the one that has fewer: a label that one prompt gave has no
        spread.
    """
    shape, n = values.shape[1:], len(values)
    if not (weights.sum() > 0 and other_weights.sum() > 0):
        return _nothing(shape)
    there = (weights > 0) | (other_weights > 0)
    sums = [
        ((_finite(mean.reshape(n, -1)) * weight[:, None])[there], weight[there])
        for mean, weight in ((values, weights), (other_values, other_weights))
    ]
    one, other = (total.sum(axis=0) / size.sum() for total, size in sums)
    low, high = _ratio_interval(sums, one - other, interval)
    return (one - other).reshape(shape), low.reshape(shape), high.reshape(shape)


def _nothing(shape: tuple[int, ...]) -> Estimate:
    nothing: Floats = np.full(shape, np.nan)
    return nothing, nothing.copy(), nothing.copy()


def _by_cluster(
    values: Floats, clusters: NDArray[Any], weights: Floats | None
) -> tuple[Floats, Floats]:
    """Every cluster's weighted sum [cluster, column] and weight [cluster], of those with weight."""
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    names, where = np.unique(clusters, return_inverse=True)
    columns = int(np.prod(values.shape[1:]))
    flat = _finite(np.asarray(values, dtype=float).reshape(len(values), columns)) * weight[:, None]
    total, size = np.zeros((len(names), flat.shape[1])), np.zeros(len(names))
    np.add.at(total, where, flat)
    np.add.at(size, where, weight)
    return total[size > 0], size[size > 0]


def _ratio_interval(
    sums: list[tuple[Floats, Floats]], estimate: Floats, interval: Interval
) -> tuple[Floats, Floats]:
    """Low and high of a ratio of sums, or of a first one less a second one.

    Args:
        sums: per ratio the clusters' sums [cluster, column] and weights [cluster].
    """
    worth = min(_equal_clusters(size) for _, size in sums)
    if min((size > 0).sum() for _, size in sums) < LEAST or worth < 2:
        return _nothing(estimate.shape)[:2]
    if worth < BOOTSTRAP:
        half = interval.t(worth - 1) * _jackknife_error(sums)
        return estimate - half, estimate + half
    counts = interval.draws(len(sums[0][1]))
    drawn = [counts @ size for _, size in sums]
    known = np.all([size > 0 for size in drawn], axis=0)
    means = [
        (counts[known] @ total) / size[known, None]
        for (total, _), size in zip(sums, drawn, strict=True)
    ]
    return interval.of(means[0] - means[1] if len(means) == 2 else means[0])


def _equal_clusters(size: Floats) -> float:
    """How many clusters of equal weight tell as much as these, Kish 1965: (Σw)² / Σw²."""
    return float(size.sum() ** 2 / (size**2).sum())


def _jackknife_error(sums: list[tuple[Floats, Floats]]) -> Floats:
    """Standard error of a ratio, or of two ratios' difference, each cluster left out: [column]."""
    n = len(sums[0][1])
    without = [(total.sum(axis=0) - total) / (size.sum() - size)[:, None] for total, size in sums]
    found = without[0] - without[1] if len(without) == 2 else without[0]
    error: Floats = np.sqrt((n - 1) * found.var(axis=0))
    return error


def share_interval(
    values: Floats, interval: Interval, clusters: NDArray[Any] | None = None
) -> Estimate:
    """Share of rows with Wilson's interval, which is never of width zero.

    Rows that share a cluster count for as many as they are worth (their number over the design
    effect, corrected for the clusters' degrees of freedom: Korn and Graubard 1998); where all rows
    are alike nothing tells their worth, and a cluster counts for one. Below 5 clusters none.

    Args:
        values: [row, ...], each 1, 0, or not-a-number for neither known.
        clusters: [row]; every row its own without it.

    Returns:
        share, low, high: each [...]; not-a-number where one of a column's values is none.
    """
    share, worth = _worth(values, clusters, interval)
    z = stats.norm.isf(interval.tail)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (share + z**2 / (2 * worth)) / (1 + z**2 / worth)
        half = z / (1 + z**2 / worth) * np.sqrt(share * (1 - share) / worth + (z / worth) ** 2 / 4)
    # exact where rounding would leave a speck
    low = np.where(share == 0, 0 * worth, np.clip(middle - half, 0, None))
    high = np.where(share == 1, 1 + 0 * worth, np.clip(middle + half, None, 1))
    return share, low, high


def share_difference_interval(
    values: Floats, interval: Interval, clusters: NDArray[Any] | None = None
) -> Estimate:
    """Mean of differences of two yes-or-no answers, -1, 0 or 1 a row, with its interval.

    Bonett and Price 2012: one is added to the rows of either sign, so that it is never of width
    zero. Clusters as in `share_interval`.

    Args:
        values: [row, ...].
        clusters: [row].
    """
    mean, worth = _worth(values, clusters, interval)
    n = len(values)
    z = stats.norm.isf(interval.tail)
    flat = np.asarray(values, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        up, down = (
            ((flat == sign).sum(axis=0) / max(n, 1) * worth + 1) / (worth + 2) for sign in (1, -1)
        )
        half = z * np.sqrt((up + down - (up - down) ** 2) / (worth + 2))
    low, high = np.clip(up - down - half, -1, None), np.clip(up - down + half, None, 1)
    # where the added rows pull it so far, the estimate is an end
    return mean, np.fmin(low, mean) + 0 * low, np.fmax(high, mean) + 0 * high


def _worth(
    values: Floats, clusters: NDArray[Any] | None, interval: Interval
) -> tuple[Floats, Floats]:
    """Mean of rows, and how many independent rows theirs are worth: each [...]."""
    n, shape = len(values), values.shape[1:]
    names = np.arange(n) if clusters is None else clusters
    total, size = _by_cluster(values, names, None)
    if not n:
        return np.full(shape, np.nan), np.full(shape, np.nan)
    mean = total.sum(axis=0) / n
    if len(size) < LEAST:
        return mean.reshape(shape), np.full(shape, np.nan)
    squares = (np.asarray(values, dtype=float).reshape(n, -1) ** 2).mean(axis=0)
    alone = np.maximum(squares - mean**2, 0) / (n - 1)
    clustered = _jackknife_error([(total, size)]) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        worth = np.where(alone > 0, n * alone / clustered, len(size))
    worth = np.where(np.isnan(mean), np.nan, np.minimum(worth, n))
    # what the design effect is not known by
    if n > len(size):
        worth *= (interval.t(n - 1) / interval.t(_equal_clusters(size) - 1)) ** 2
    return mean.reshape(shape), worth.reshape(shape)


def against_controls(effect: float, controls: Floats) -> float:
    """Two-sided p-value of a direction's mean effect against control directions'.

    Student's t with k - 1 degrees of freedom of (effect - mean) / (sd √(1 + 1/k)): the direction
    is one more draw from what the controls are drawn from. A direction moves all items alike, so
    the direction is what is exchanged, not the item. Its mean effect is to first order the
    projection of one gradient on it: normal over directions of many dimensions.

    Args:
        effect: the direction's mean over items.
        controls: [control] theirs.

    Returns:
        p; not-a-number below two controls, where they do not differ, or with a number that is none.
    """
    k = len(controls)
    if k < 2 or not np.isfinite([effect, *controls]).all():
        return float("nan")
    spread = float(np.std(controls, ddof=1))
    if not spread > 0:
        return float("nan")
    t = (effect - float(np.mean(controls))) / (spread * np.sqrt(1 + 1 / k))
    return float(2 * stats.t.sf(abs(t), k - 1))


def control_band(controls: Floats, interval: Interval) -> tuple[float, float]:
    """Between what one more control would lie, with the interval's confidence.

    Args:
        controls: [control] mean effects.

    Returns:
        low, high; not-a-number below two controls, or where one is none.
    """
    k = len(controls)
    if k < 2 or not np.isfinite(controls).all():
        return float("nan"), float("nan")
    half = interval.t(k - 1) * float(np.std(controls, ddof=1)) * np.sqrt(1 + 1 / k)
    mean = float(np.mean(controls))
    return mean - half, mean + half


def rank_p(effect: float, controls: Floats) -> float:
    """Two-sided rank of a direction's mean effect among the controls', as a p-value.

    (1 + controls as far from their common mean) / (1 + controls): never below 1 / (1 + controls).

    Args:
        effect, controls: as in `against_controls`.
    """
    if not len(controls) or not np.isfinite([effect, *controls]).all():
        return float("nan")
    # the direction belongs to those whose middle is taken, or it would be the farthest too often
    far = np.abs(np.append(controls, effect) - np.mean([*controls, effect]))
    return float((far[:-1] >= far[-1] * (1 - 1e-12)).sum() + 1) / (1 + len(controls))


def holm(p: Floats) -> Floats:
    """Holm's adjusted p-values (family-wise error); what is not a number stays out.

    Holm 1979: sorted ascending, the i-th of m is multiplied by m - i + 1, and none is below one
    before it.

    Args:
        p: [test].

    Returns:
        [test].
    """
    return _adjusted(p, lambda sorted_p, m: np.maximum.accumulate(sorted_p * np.arange(m, 0, -1)))


def benjamini_hochberg(p: Floats) -> Floats:
    """Benjamini and Hochberg's adjusted p-values (false discovery rate), 1995; else like `holm`."""
    return _adjusted(
        p,
        lambda sorted_p, m: np.minimum.accumulate((sorted_p * m / np.arange(1, m + 1))[::-1])[::-1],
    )


def _adjusted(p: Floats, adjust: Callable[[Floats, int], Floats]) -> Floats:
    p = np.asarray(p, dtype=float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    if len(order):
        adjusted[order] = np.minimum(adjust(p[order], len(order)), 1)
    return adjusted
