"""First-order slopes, and what random directions and shuffled labels give in a vector's place.

An item's score under m × v at a block is its unsteered score + m × <gradient, v> + terms in m²: the
product is its slope (Tan et al. 2024, section 4) as multipliers become small. Gradients are in nats
(see `engine.gradients`), so slopes are in nats per unit multiplier. The draws are of whole
directions, which move all items together: a draw's items are no independent numbers.

All is exact, and nothing is drawn in d dimensions: the slopes of n items depend on a direction
through n numbers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from steerpaper.seeds import stream

Floats = NDArray[np.floating]

# a sum whose square is less than this share of its terms' squares is rounding alone
NOTHING = 1e-12


def first_order_slopes(gradients: Floats, direction: Floats) -> NDArray[np.float64]:
    """Slope of every item along a direction: <gradient, direction>, [item], nats.

    Args:
        gradients: [item, d], of one block.
        direction: [d], in the multiplier's unit.
    """
    slopes: NDArray[np.float64] = gradients.astype(np.float64) @ direction.astype(np.float64)
    return slopes


def random_null(
    gradients: Floats, norm: float, draws: int, seed: int, *what: object
) -> NDArray[np.float64]:
    """Slopes of random directions of one norm, drawn evenly from all: [draw, item], nats.

    A direction is norm × z / |z| with z normal in d dimensions. Of z, the slopes need its part in
    a space of k = min(n, d) dimensions that holds the items' gradients (`_coordinates`); of the
    d - k others they need the length, a chi: so the draws are those of whole directions, however
    few dimensions there are.

    Args:
        gradients: [item, d], of one block.
        norm: of the directions.
        draws: number of directions.
        seed, what: what the draws are for (see `seeds.stream`).
    """
    exact = gradients.astype(np.float64)
    coordinates = _coordinates(exact)
    d, k = exact.shape[1], coordinates.shape[1]
    generator = stream(seed, "first-order random directions", *what)
    inside = generator.standard_normal((draws, k))
    outside = generator.chisquare(d - k, draws) if d > k else np.zeros(draws)
    length = np.sqrt((inside**2).sum(axis=1) + outside)
    slopes: NDArray[np.float64] = norm * (inside @ coordinates.T) / length[:, None]
    return slopes


def random_spread(gradients: Floats, vector: Floats, layers: Sequence[int]) -> float:
    """How far the mean slope of random directions of a vector's norm spreads, nats.

    To first order a direction's mean slope is <mean gradient, direction>: over directions of one
    norm it is normal around 0 with standard deviation norm · |mean gradient| / √d. Blocks that are
    steered together add up, each with a direction of its own.

    Args:
        gradients: [item, L, d].
        vector: [L, d], whose norms the directions have.
        layers: the blocks that are steered together.
    """
    blocks = list(layers)
    sizes = np.linalg.norm(gradients.mean(axis=0, dtype=np.float64), axis=1)
    norms = np.linalg.norm(vector[blocks].astype(np.float64), axis=1)
    together = float(np.linalg.norm(norms * sizes[blocks]))
    return float(together / np.sqrt(gradients.shape[-1]))


def _coordinates(gradients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gradients in an orthonormal basis of a space that holds them all: [item, min(n, d)].

    Of n gradients in more than n dimensions it is the square root of their Gram matrix, the one
    that is symmetric: it has no sign or order that another machine would choose otherwise.
    """
    n, d = gradients.shape
    if n >= d:
        return gradients
    squares, axes = np.linalg.eigh(gradients @ gradients.T)
    # what is below 0 is 0 and rounding
    root: NDArray[np.float64] = np.asarray(
        (axes * np.sqrt(np.maximum(squares, 0))) @ axes.T, dtype=np.float64
    )
    return root


def random_signs(draws: int, items: int, seed: int, *what: object) -> NDArray[np.float64]:
    """+1 or -1 for every training item, evenly and independently: [draw, train item].

    Args:
        seed, what: what the draws are for (see `seeds.stream`).
    """
    generator = stream(seed, "first-order shuffled labels", *what)
    signs: NDArray[np.float64] = generator.choice(np.array([-1.0, 1.0]), size=(draws, items))
    return signs


def shuffled_null(
    gradients: Floats, differences: Floats, norm: float, signs: Floats
) -> NDArray[np.float64]:
    """Slopes of vectors whose labels are shuffled: [draw, item], nats.

    Such a vector is the sum of the training items' differences with random signs, scaled to the
    norm: it has the data's covariance and knows of no behaviour. With the same signs at every block
    a draw is one shuffle of the labels, whose slopes at several blocks belong together.

    Where the differences share a strong mean, a shuffle holds some of it, plus or minus: the draws
    are wide and end where the mean itself is, and are not normal. Then the rank among many draws
    says what a t does not.

    Args:
        gradients: [item, d], of one block.
        differences: [train item, d], matching - other, of that block.
        norm: of the vectors.
        signs: [draw, train item], see `random_signs`.

    Returns:
        not-a-number in a draw whose differences cancel: it has no direction.
    """
    exact, apart = gradients.astype(np.float64), differences.astype(np.float64)
    gram, drawn = apart @ apart.T, signs.astype(np.float64)
    square = ((drawn @ gram) * drawn).sum(axis=1)
    length = np.sqrt(np.where(square > NOTHING * np.trace(gram), square, np.nan))
    slopes: NDArray[np.float64] = norm * (drawn @ (apart @ exact.T)) / length[:, None]
    return slopes
