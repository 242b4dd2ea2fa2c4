"""What controls do at every block, to first order: thousands of directions from a few gradients."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from steerpaper.steering.conditions import KINDS
from steerpaper.steering.first_order import random_null, shuffled_null
from steerpaper.steering.slopes import standardized_slopes
from steerpaper.steering.vectors import label_signs

Floats = NDArray[np.floating]


def by_chance(
    gradients: Floats,
    differences: Floats,
    norms: Floats,
    layers: Sequence[int],
    *,
    draws: int,
    names: Sequence[object],
) -> dict[str, NDArray[np.float64]]:
    """The items' first-order slopes of many controls of each kind, at some blocks.

    The labels are dealt anew once for all blocks, since a vector of all blocks is made of one set
    of labels; random directions are drawn a block.

    Args:
        gradients: [item, L, d] of the items that are steered.
        differences: [train item, L, d] matching - other.
        norms: [L] of the vector.
        names: name the random stream; the first is the seed.

    Returns:
        by kind, float64 [block, draw, item].
    """
    signs = label_signs(len(differences), range(draws), "first order", *names)
    found: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in KINDS}
    for layer in layers:
        here, norm = gradients[:, layer].astype(np.float64), float(norms[layer])
        found["random"].append(random_null(here, norm, draws, *names, layer))
        found["shuffled"].append(shuffled_null(here, differences[:, layer], norm, signs))
    return {kind: np.stack(blocks) for kind, blocks in found.items()}


def highest(null: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """By kind, the highest standardized slope that each draw has over the blocks: [draw]."""
    found = {}
    for kind, slopes in null.items():
        standardized = standardized_slopes(slopes.transpose(1, 2, 0))
        known = np.isfinite(standardized).any(axis=1)
        found[kind] = np.full(len(standardized), np.nan)
        found[kind][known] = np.nanmax(standardized[known], axis=1)
    return found
