"""Steering vectors from activations: pure functions on arrays."""

import numpy as np
from numpy.typing import NDArray

from steerpaper.seeds import stream

Floats = NDArray[np.floating]


def mean_difference(matching: Floats, other: Floats) -> NDArray[np.float64]:
    """Mean over all items of matching minus other (Panickssery et al. 2023, equation 1).

    Args:
        matching, other: [item, L, d].

    Returns:
        float64 [L, d]; the mean over the whole set, accumulated in float64.
    """
    difference: NDArray[np.float64] = matching.astype(np.float64) - other.astype(np.float64)
    vector: NDArray[np.float64] = difference.mean(axis=0)
    return vector


def random_direction(like: Floats, seed: int, behavior: str, number: int) -> NDArray[np.float64]:
    """A random direction for every block with the norm of `like` [L, d] there: the control.

    One direction is drawn a block, from the seed, the behaviour and its number alone.
    """
    noise = stream(seed, "random direction", behavior, number).standard_normal(like.shape)
    norms = np.linalg.norm(like, axis=-1, keepdims=True)
    direction: NDArray[np.float64] = noise / np.linalg.norm(noise, axis=-1, keepdims=True) * norms
    return direction


def cosine(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Cosine similarity of every row of a [m, d] with every row of b [n, d]: float64 [m, n].

    Not-a-number where one of them has no direction.
    """
    a, b = (x.astype(np.float64) for x in (a, b))
    # a vector of norm zero (block 0 of two equal prompts) has no direction: not 0, a right angle
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
    similarity: NDArray[np.float64] = np.divide(
        a @ b.T, norms, out=np.full_like(norms, np.nan), where=np.isfinite(norms) & (norms > 0)
    )
    return similarity


def principal_components(points: Floats, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project points [item, d] on their first n principal components.

    Returns:
        projections [item, n] and the share of variance that each component explains [n]. Signs
        are fixed: the largest loading of every component is positive.
    """
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    _, scale, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    projected = centred @ (axes[:n] * signs[:n, None]).T
    return projected, scale[:n] ** 2 / max(float((scale**2).sum()), np.finfo(float).tiny)


def scaled_to(vectors: Floats, norms: Floats) -> NDArray[np.float64]:
    """Scale every vector of [L, d] to the norm of its block [L]; one of norm zero stays zero."""
    own = np.linalg.norm(vectors.astype(np.float64), axis=1)
    factor = np.divide(norms, own, out=np.zeros_like(own), where=own > 0)
    scaled: NDArray[np.float64] = vectors * factor[:, None]
    return scaled


def mean_norms(vectors: list[Floats]) -> NDArray[np.float64]:
    """Mean over behaviours of their vectors' norms, per block: [L] from many [L, d].

    Panickssery et al. 2023, section 4: behaviours whose vectors are scaled to it are steered
    equally hard by equal multipliers.
    """
    norms: NDArray[np.float64] = np.mean(
        [np.linalg.norm(vector.astype(np.float64), axis=1) for vector in vectors], axis=0
    )
    return norms


def residual_norms(matching: Floats, other: Floats) -> NDArray[np.float64]:
    """Mean norm of the residual stream per block [L], over items and both answers.

    Args:
        matching, other: [item, L] the mean over an answer's tokens of the residual stream's norm.
    """
    norms: NDArray[np.float64] = np.concatenate([matching, other]).mean(axis=0, dtype=np.float64)
    return norms
