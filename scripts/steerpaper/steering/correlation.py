"""Correlations over behaviours, with their intervals."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from steerpaper.stats import BOOTSTRAP, LEAST, Interval

Floats = NDArray[np.float64]
# correlation, low, high
Correlation = tuple[float, float, float]

NOTHING: Correlation = (float("nan"), float("nan"), float("nan"))
FEWEST = 3  # pairs: of two every correlation is 1 or -1


def pearson(x: Floats, y: Floats, interval: Interval) -> Correlation:
    """Pearson's correlation of pairs, with its interval.

    From 20 pairs on a percentile bootstrap, pairs drawn with replacement, below that Fisher's
    (1921), which long tails make too narrow.

    Args:
        x, y: [pair]; pairs in which either is not finite are left out.

    Returns:
        correlation, low, high; not-a-number below 3 pairs or where one side does not vary, the
        interval's ends below 5.
    """
    x, y = _known(x, y)
    if not _vary(x, y):
        return NOTHING
    found = float(_correlations(x[None], y[None])[0])
    if len(x) >= BOOTSTRAP:
        drawn = _drawn(len(x), interval)
        return (found, *_quantiles(_correlations(x[drawn], y[drawn]), interval))
    return (found, *_transformed(found, len(x), 1.0, interval))


def spearman(x: Floats, y: Floats, interval: Interval) -> Correlation:
    """Spearman's rank correlation of pairs, with its interval.

    From 20 pairs on a percentile bootstrap, below that Bonett and Wright's (2000). Ranks in one
    order do not prove that all are: there the interval is that of the correlation next to it, two
    neighbours swapped, and reaches to the end.

    Args:
        x, y: as in `pearson`.
    """
    x, y = _known(x, y)
    if not _vary(x, y):
        return NOTHING
    n = len(x)
    found = float(_of_ranks(x[None], y[None])[0])
    swapped = 1 - 12 / (n * (n**2 - 1))
    if n >= BOOTSTRAP and abs(found) <= swapped:
        drawn = _drawn(n, interval)
        return (found, *_quantiles(_of_ranks(x[drawn], y[drawn]), interval))
    inner = float(np.clip(found, -swapped, swapped))
    low, high = _transformed(inner, n, 1 + inner**2 / 2, interval)
    if abs(found) > swapped and n >= LEAST:
        low, high = (low, 1.0) if found > 0 else (-1.0, high)
    return found, low, high


def _known(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _vary(x: Floats, y: Floats) -> bool:
    return len(x) >= FEWEST and bool(np.ptp(x) > 0 and np.ptp(y) > 0)


def _drawn(n: int, interval: Interval) -> NDArray[np.int64]:
    """Which of n pairs each draw has, [draw, n]."""
    counts = interval.draws(n)
    places = np.tile(np.arange(n), len(counts))
    return np.repeat(places, counts.ravel()).reshape(len(counts), n)


def _correlations(x: Floats, y: Floats) -> Floats:
    """Pearson's correlation of every row of x and y, [row, pair]; not-a-number of a flat one."""
    x, y = (side - side.mean(axis=1, keepdims=True) for side in (x, y))
    size = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    found = np.divide((x * y).sum(axis=1), size, out=np.full(len(x), np.nan), where=size > 0)
    clipped: Floats = np.clip(found, -1, 1)
    return clipped


def _of_ranks(x: Floats, y: Floats) -> Floats:
    return _correlations(stats.rankdata(x, axis=1), stats.rankdata(y, axis=1))


def _quantiles(drawn: Floats, interval: Interval) -> tuple[float, float]:
    low, high = interval.of(drawn[np.isfinite(drawn)])
    return float(low), float(high)


def _transformed(found: float, n: int, factor: float, interval: Interval) -> tuple[float, float]:
    """Between what the correlation lies: its inverse hyperbolic tangent is nearly normal.

    Args:
        factor: of the variance 1 / (n - 3).
    """
    if n < LEAST:
        return NOTHING[:2]
    half = float(stats.norm.isf(interval.tail)) * np.sqrt(factor / (n - 3))
    with np.errstate(divide="ignore"):
        middle = np.arctanh(found)
    return float(np.tanh(middle - half)), float(np.tanh(middle + half))
