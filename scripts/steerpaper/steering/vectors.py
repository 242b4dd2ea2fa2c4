"""Steering vectors from activations: pure functions on arrays."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from steerpaper.seeds import stream
from steerpaper.workflow.files import Sliced

Floats = NDArray[np.floating]


def by_block(
    activations: Mapping[str, Sliced], layers: Iterable[int]
) -> Iterator[tuple[Floats, Floats]]:
    """The activations of one block after the other: matching and other, [item, 1, d] each.

    Args:
        activations: matching and other, [item, L, d] each, as arrays or on disk.
    """
    for layer in layers:
        block = slice(layer, layer + 1)
        yield activations["matching"][:, block], activations["other"][:, block]


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


def shuffled_direction(
    matching: Floats, other: Floats, norms: Floats, signs: Floats
) -> NDArray[np.float64]:
    """The mean difference with the items' labels dealt anew, scaled to a norm: the control.

    It has the differences' covariance, which a random direction has not.

    Args:
        matching, other: [item, L, d].
        norms: [L].
        signs: [item], 1 or -1 (see `first_order.random_signs`).
    """
    differences = matching.astype(np.float64) - other.astype(np.float64)
    return scaled_to(np.tensordot(signs, differences, axes=1) / len(signs), norms)


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


def zero_blocks(vectors: Floats) -> list[int]:
    """The blocks whose vector [L, d] has norm zero: steering there does nothing."""
    return [int(layer) for layer in np.flatnonzero(~vectors.any(axis=1))]


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


def side_dependence(
    matching: Floats, other: Floats, sides: Sequence[str | None]
) -> NDArray[np.float64]:
    """How much of the vector is one side against the other, and not the behaviour: [L].

    Half of the mean difference of the items of one side minus that of the other's is what a vector
    from one side alone has beside the behaviour. Its norm is given as a share of the vector's.

    Args:
        matching, other: [item, L, d].
        sides: of the items: A and B, or Yes and No.

    Returns:
        not-a-number where there are no two sides, or no vector.
    """
    difference = matching.astype(np.float64) - other.astype(np.float64)
    one, two = _two_sides(sides)
    if not one.any() or not two.any():
        return np.full(difference.shape[1], np.nan)
    half = (difference[one].mean(axis=0) - difference[two].mean(axis=0)) / 2
    return _share(np.linalg.norm(half, axis=-1), difference)


def chance_dependence(
    matching: Floats, other: Floats, sides: Sequence[str | None]
) -> NDArray[np.float64]:
    """What `side_dependence` is where sides mean nothing: its root mean square over all ways to
    deal the sides anew, [L].
    """
    difference = matching.astype(np.float64) - other.astype(np.float64)
    one, two = _two_sides(sides)
    if not one.any() or not two.any():
        return np.full(difference.shape[1], np.nan)
    # means of two parts, drawn without replacement
    spread = difference.var(axis=0, ddof=1).sum(axis=-1) * (1 / one.sum() + 1 / two.sum())
    return _share(np.sqrt(spread) / 2, difference)


def _two_sides(sides: Sequence[str | None]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which items are of the first side by name, and which of the second, of the two that most are.

    Of letters as given there may be more: those that few items have say nothing.
    """
    counts = Counter(side for side in sides if side)
    most = sorted(sorted(counts), key=lambda side: -counts[side])[:2]
    one, two = sorted([*most, "", ""], key=lambda side: (not side, side))[:2]
    return (
        np.array([bool(one) and side == one for side in sides]),
        np.array([bool(two) and side == two for side in sides]),
    )


def _share(norms: NDArray[np.float64], difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Norms [L] over those of the mean of the differences [item, L, d]."""
    own = np.linalg.norm(difference.mean(axis=0), axis=-1)
    share: NDArray[np.float64] = np.divide(
        norms, own, out=np.full_like(own, np.nan), where=np.isfinite(own) & (own > 0)
    )
    return share
