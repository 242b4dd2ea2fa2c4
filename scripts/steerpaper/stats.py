"""Statistics on tables of scores: pure functions on arrays, items along the first axis."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerpaper.seeds import stream

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """How bootstrap intervals are made.

    Attributes:
        seed: of the draws.
        resamples: number of draws.
        confidence: share of the draws that an interval holds.
    """

    seed: int
    resamples: int
    confidence: float

    def draws(self, n: int) -> NDArray[np.int64]:
        """How often each of n items is drawn: [draw, n]."""
        generator = stream(self.seed, "bootstrap", n)
        counts: NDArray[np.int64] = generator.multinomial(n, np.full(n, 1 / n), size=self.resamples)
        return counts

    def of(self, means: Floats) -> tuple[Floats, Floats]:
        """The interval of draws [draw, ...]: low and high [...]."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(means, [tail, 1 - tail], axis=0)
        return low, high


def _finite(values: Floats) -> Floats:
    """The values with not-a-number for what is not finite: a mean of it is empty, not infinite."""
    found: Floats = np.where(np.isfinite(values), values, np.nan)
    return found


def bootstrap_mean(values: Floats, interval: Interval) -> tuple[Floats, Floats, Floats]:
    """Mean over items with a percentile bootstrap interval; items are drawn with replacement.

    All columns of `values` are resampled together, so that they stay paired.

    Args:
        values: [item, ...].

    Returns:
        mean, low, high: each [...]; not-a-number where one of a column's values is not finite.
    """
    n = len(values)
    flat = _finite(values.reshape(n, -1))
    low, high = interval.of(interval.draws(n) @ flat / n)
    shape = values.shape[1:]
    return flat.mean(axis=0).reshape(shape), low.reshape(shape), high.reshape(shape)


def clustered_bootstrap_mean(
    values: Floats,
    clusters: NDArray[Any],
    interval: Interval,
    *,
    weights: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Weighted mean over rows with a percentile interval; whole clusters are drawn.

    Rows that share a prompt are not independent: the prompts are drawn with replacement, each with
    all its rows (Davison and Hinkley 1997, section 3.8). With one row a cluster and equal weights
    this is `bootstrap_mean`.

    Args:
        values: [row, ...].
        clusters: [row] what the rows are clustered by.
        weights: [row] how often a row counts, >= 0; 1 without it.

    Returns:
        mean, low, high: each [...]; all not-a-number where there is no row of positive weight.
    """
    shape = values.shape[1:]
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    if not weight.sum() > 0:
        nothing: Floats = np.full(shape, np.nan)
        return nothing, nothing.copy(), nothing.copy()
    names, where = np.unique(clusters, return_inverse=True)
    flat = _finite(values.reshape(len(values), -1)) * weight[:, None]
    # a cluster's rows enter through their weighted sum and their weight alone
    total, size = np.zeros((len(names), flat.shape[1])), np.zeros(len(names))
    np.add.at(total, where, flat)
    np.add.at(size, where, weight)
    counts = interval.draws(len(names))
    drawn = counts @ size
    # a draw of nothing but clusters of weight 0 has no mean
    means = (counts[drawn > 0] @ total) / drawn[drawn > 0, None]
    low, high = interval.of(means)
    mean = total.sum(axis=0) / size.sum()
    return mean.reshape(shape), low.reshape(shape), high.reshape(shape)


def permutation_p(effect: Floats, controls: Floats, interval: Interval) -> float:
    """Two-sided p-value of a direction's mean effect against control directions, item by item.

    Under the null hypothesis the direction is one like its controls, so that which of an item's
    1 + k effects is called the direction's is arbitrary: it is dealt anew for every item. The
    statistic is the mean over items of the effect minus the controls' mean. With one control this
    is the paired permutation test (`scipy.stats.permutation_test`, permutation_type "samples").

    Args:
        effect: [item].
        controls: [item, k].

    Returns:
        (1 + resamples at least as extreme) / (1 + resamples), Phipson and Smyth 2010 (so never 0);
        not-a-number without items or controls, or where one of the numbers is none.
    """
    if not effect.size or not controls.size:
        return float("nan")
    every = np.column_stack([effect, controls])
    if not np.isfinite(every).all():
        return float("nan")
    n, k = every.shape
    # the chosen one's effect less the mean of the others
    contrast = every - (every.sum(axis=1, keepdims=True) - every) / (k - 1)
    observed = abs(contrast[:, 0].mean())
    dealt = stream(interval.seed, "permutation", n, k).integers(k, size=(interval.resamples, n))
    permuted = np.abs(contrast[np.arange(n), dealt].mean(axis=1))
    # equal up to rounding counts as equal
    extreme = int((permuted >= observed * (1 - 1e-12)).sum())
    return (1 + extreme) / (1 + interval.resamples)


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


def clustered_bootstrap_difference(
    values: Floats,
    weights: Floats,
    other_values: Floats,
    other_weights: Floats,
    interval: Interval,
) -> tuple[Floats, Floats, Floats]:
    """Difference of two weighted means over the same clusters, with a percentile interval.

    Both means are taken over the same draws of clusters, so that what a cluster's rows share does
    not widen the interval. Draws in which either mean has no weight are left out.

    Args:
        values, other_values: [cluster, ...] each cluster's mean.
        weights, other_weights: [cluster] the number of rows behind it, >= 0.

    Returns:
        difference, low, high: each [...]; all not-a-number where either has no weight at all.
    """
    shape, n = values.shape[1:], len(values)
    if not (weights.sum() > 0 and other_weights.sum() > 0):
        nothing: Floats = np.full(shape, np.nan)
        return nothing, nothing.copy(), nothing.copy()
    draws = interval.draws(n)
    counts = np.concatenate([np.ones((1, n), dtype=draws.dtype), draws])
    counts = counts[(counts @ weights > 0) & (counts @ other_weights > 0)]
    one, other = (
        (counts @ (_finite(mean.reshape(n, -1)) * weight[:, None])) / (counts @ weight)[:, None]
        for mean, weight in ((values, weights), (other_values, other_weights))
    )
    difference = one - other
    low, high = interval.of(difference[1:])
    return difference[0].reshape(shape), low.reshape(shape), high.reshape(shape)
