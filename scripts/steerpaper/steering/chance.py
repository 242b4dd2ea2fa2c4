"""What controls do at every block, to first order: thousands of directions from a few gradients."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from steerpaper.steering.conditions import KINDS
from steerpaper.steering.first_order import (
    random_null,
    random_signs,
    shuffled_null,
)
from steerpaper.steering.slopes import standardized_slopes

Floats = NDArray[np.floating]


def by_chance(
    gradients: Floats,
    differences: Floats,
    norms: Floats,
    layers: Sequence[int],
    *,
    draws: int,
    seed: int,
    what: Sequence[object],
) -> dict[str, NDArray[np.float64]]:
    """The items' first-order slopes of many controls of each kind, at some blocks.

    The labels are dealt anew once for all blocks, since a vector of all blocks is made of one set
    of labels; random directions are drawn a block.

    Args:
        gradients: [item, L, d] of the items that are steered.
        differences: [train item, L, d] matching - other.
        norms: [L] of the vector.
        seed, what: what the draws are for (see `seeds.stream`).

    Returns:
        by kind, float64 [block, draw, item].
    """
    signs = random_signs(draws, len(differences), seed, *what)
    found: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in KINDS}
    for layer in layers:
        here, norm = gradients[:, layer].astype(np.float64), float(norms[layer])
        found["random"].append(random_null(here, norm, draws, seed, *what, layer))
        found["shuffled"].append(shuffled_null(here, differences[:, layer], norm, signs))
    return {kind: np.stack(blocks) for kind, blocks in found.items()}


def p_of_labels(
    gradients: Floats,
    differences: Floats,
    vector: Floats,
    layers: Sequence[int],
    *,
    draws: int,
    seed: int,
    what: Sequence[object],
) -> float:
    """Whether the training items' labels matter: how far they move the score, dealt anew.

    Fisher's test by random signs, to first order: the statistic is the mean over the training items
    of <mean gradient, difference>, which is the mean difference's slope, and a draw gives every
    difference a sign of its own. Draws keep the norm that they have: scaled to the vector's, those
    of differences that share a strong mean are that mean again, plus or minus, and nothing could
    stand out from them.

    Args:
        gradients: [item, L, d] of the items that are steered.
        differences: [train item, L, d] matching - other.
        vector: [L, d], the one that steers: its norms weigh blocks that are steered together.
        layers: these blocks: their slopes add up.
        seed, what: what the draws are for (see `seeds.stream`).

    Returns:
        (1 + as far) / (1 + draws), two-sided; not-a-number where the vector has no slope. It is
        the mean difference's, whichever estimator steers.
    """
    each = np.zeros(len(differences))
    for layer in layers:
        apart = differences[:, layer].astype(np.float64)
        own, wanted = (
            float(np.linalg.norm(one.astype(np.float64)))
            for one in (apart.mean(axis=0), vector[layer])
        )
        if own > 0:
            each += wanted / own * (apart @ gradients[:, layer].astype(np.float64).mean(axis=0))
    if not np.isfinite(each).all() or not each.any():
        return float("nan")
    drawn = random_signs(draws, len(each), seed, *what) @ each
    # equal up to rounding counts as equal
    return float((1 + (np.abs(drawn) >= abs(each.sum()) * (1 - 1e-12)).sum()) / (1 + draws))


def highest(null: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """By kind, the highest standardized slope that each draw has over the blocks: [draw]."""
    found = {}
    for kind, slopes in null.items():
        standardized = standardized_slopes(slopes.transpose(1, 2, 0))
        known = np.isfinite(standardized).any(axis=1)
        found[kind] = np.full(len(standardized), np.nan)
        found[kind][known] = np.nanmax(standardized[known], axis=1)
    return found
