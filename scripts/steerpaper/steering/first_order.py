"""Slopes to first order, of a vector and of controls: pure functions on gradients.

A direction's slope is to first order its product with the gradient of an item's logit difference
(see `engine.gradients`), so what thousands of controls would do follows from a few gradients.
"""

import numpy as np
from numpy.typing import NDArray

from steerpaper.seeds import stream

Floats = NDArray[np.floating]


def first_order_slopes(gradients: Floats, direction: Floats) -> NDArray[np.float64]:
    """Slope of every item: the product of its gradient and the direction.

    Args:
        gradients: [item, d], nats per unit of the residual stream.
        direction: [d].

    Returns:
        float64 [item], nats per unit multiplier.
    """
    slopes: NDArray[np.float64] = gradients.astype(np.float64) @ direction.astype(np.float64)
    return slopes


def random_null(gradients: Floats, norm: float, draws: int, *names: object) -> NDArray[np.float64]:
    """Slopes of random directions of one norm, uniform on the sphere: float64 [draw, item].

    No direction of d dimensions is drawn: the part of one that the n gradients see is a point of
    n normal numbers, and all the rest of it is a chi-squared number of d - n degrees of freedom.

    Args:
        gradients: [item, d].
        names: name the random stream.
    """
    of_items = gradients.astype(np.float64)
    # the gradients in coordinates of the space that they span
    _, scale, axes = np.linalg.svd(of_items, full_matrices=False)
    rank, width = len(scale), of_items.shape[1]
    generator = stream("random directions", *names)
    seen = generator.standard_normal((draws, rank))
    unseen = generator.chisquare(width - rank, draws) if width > rank else np.zeros(draws)
    length = np.sqrt((seen**2).sum(axis=1) + unseen)
    slopes: NDArray[np.float64] = norm * (seen / length[:, None]) @ (of_items @ axes.T).T
    return slopes


def shuffled_null(
    gradients: Floats, differences: Floats, norm: float, signs: Floats
) -> NDArray[np.float64]:
    """Slopes of mean differences whose labels are dealt anew, of one norm: float64 [draw, item].

    Args:
        gradients: [item, d] of the items that are steered.
        differences: [train item, d] matching - other.
        signs: [draw, train item], 1 or -1 (see `vectors.label_signs`).

    Returns:
        Not-a-number for a draw whose differences cancel: it has no direction.
    """
    of_train = differences.astype(np.float64)
    length = np.sqrt(np.einsum("ij,jk,ik->i", signs, of_train @ of_train.T, signs).clip(min=0))
    projected = signs @ (of_train @ gradients.astype(np.float64).T)
    # what is left of differences that cancel is rounding
    there = length > 1e-9 * np.linalg.norm(of_train, axis=1).sum()
    slopes: NDArray[np.float64] = np.full(projected.shape, np.nan)
    slopes[there] = norm * projected[there] / length[there, None]
    return slopes
