"""Statistics on tables of scores: pure functions on arrays, items along the first axis."""

import numpy as np
from numpy.typing import NDArray

from steerpaper.seeds import stream

Floats = NDArray[np.float64]


def slopes(multipliers: Floats, scores: Floats) -> Floats:
    """Per-item steerability: the least-squares slope of the score on the multiplier.

    Tan et al. 2024 (arXiv 2407.12404), section 4.

    Args:
        multipliers: [condition].
        scores: [item, condition], in nats.

    Returns:
        [item], nats per unit of multiplier.
    """
    centred = multipliers - multipliers.mean()
    slope: Floats = scores @ centred / (centred @ centred)
    return slope


def bootstrap_mean(
    values: Floats, *, seed: int, resamples: int, confidence: float
) -> tuple[Floats, Floats, Floats]:
    """Mean over items with a percentile bootstrap interval; items are drawn with replacement.

    All columns of `values` are resampled together, so that they stay paired.

    Args:
        values: [item, ...].

    Returns:
        mean, low, high: each [...].
    """
    n = len(values)
    flat = values.reshape(n, -1)
    counts = stream(seed, "bootstrap", n).multinomial(n, np.full(n, 1 / n), size=resamples)
    means = counts @ flat / n
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    shape = values.shape[1:]
    return flat.mean(axis=0).reshape(shape), low.reshape(shape), high.reshape(shape)
