"""Is a published number what a study finds? Both have an interval (docs/reproduction.md)."""

import math
from dataclasses import dataclass

from scipy import stats

INSIDE, OUTSIDE, NOT_COMPARABLE = "inside", "outside", "not comparable"
UNKNOWN_ERROR = (
    "the published number's own sampling error is not known: this study's interval alone decides"
)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; NaN where it has none."""

    value: float
    low: float = math.nan
    high: float = math.nan


def published_interval(
    value: float, sd: float | None, n: int | None, error: str, confidence: float
) -> Estimate:
    """The sampling error of a published number as an interval around it.

    share: Wilson's interval of `value` among n; of a mean of n probabilities it is at least as wide
    as it has to be, since their variance is at most p (1 - p). mean: value ± z sd / √n. ks: the
    greatest distance between two samples' distributions is a difference of two shares where it is
    reached, each of variance at most 1 / (4 n): value ± z √(1 / (4 n) + 1 / (4 n)).

    Args:
        error: share, mean, ks or none.

    Returns:
        no interval where n is not known, or for a mean its sd.
    """
    z = float(stats.norm.isf((1 - confidence) / 2))
    if n is None or error == "none" or (error == "mean" and sd is None):
        return Estimate(value)
    if error == "share":
        middle = (value + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(value * (1 - value) / n + (z / n) ** 2 / 4)
        return Estimate(value, min(middle - half, value), max(middle + half, value))
    if error == "mean":
        half = z * (sd or 0) / math.sqrt(n)
        return Estimate(value, value - half, value + half)
    return ks_interval(value, n, n, confidence)


def ks_interval(statistic: float, n: float, m: float, confidence: float) -> Estimate:
    """A two-sample Kolmogorov-Smirnov statistic ± z √(1 / (4 n) + 1 / (4 m)), as above."""
    if not (n > 0 and m > 0 and math.isfinite(statistic)):
        return Estimate(statistic)
    half = float(stats.norm.isf((1 - confidence) / 2)) * math.sqrt(1 / (4 * n) + 1 / (4 * m))
    return Estimate(statistic, max(statistic - half, 0), min(statistic + half, 1))


def verdict(published: Estimate, ours: Estimate) -> str:
    """Inside, where |published - ours| ≤ √(a² + b²), else outside.

    a is the part of our interval between our number and its end on the published number's side, b
    the part of the published number's interval on our side (Newcombe 1998, method 10, for two
    shares; Zou and Donner 2008 in general): if both estimate one value from independent items,
    "inside" occurs as often as the intervals hold what they should. Of items that are the same, the
    two differ by less than that: "outside" then says more, and "inside" less.

    Args:
        published: without an interval its end is the number itself.
        ours: has an interval.
    """
    above = published.value >= ours.value
    a = ours.high - ours.value if above else ours.value - ours.low
    b = published.value - published.low if above else published.high - published.value
    b = 0 if math.isnan(b) else b
    # where rounding would decide
    far = abs(published.value - ours.value) * (1 - 1e-12)
    return INSIDE if far <= math.hypot(a, b) else OUTSIDE
