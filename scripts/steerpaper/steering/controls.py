"""A behaviour's vectors by every estimator with controls of the same norm, block by block."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from steerpaper.steering.estimators import estimates
from steerpaper.steering.first_order import random_signs
from steerpaper.steering.vectors import Floats, by_block, random_direction, shuffled_direction
from steerpaper.workflow.files import Sliced


def with_controls(
    activations: Mapping[str, Sliced], controls: int, seed: int, behavior: str
) -> dict[str, NDArray[np.float32]]:
    """Every estimator's vectors and, with the mean difference's norms, its controls.

    Args:
        activations: matching and other, [item, L, d] each, read block by block.
        controls: how many of each kind, `random-k` and `shuffled-k`.

    Returns:
        float32 [L, d] under every name.
    """
    items, n_layers = activations["matching_norms"][:].shape
    labels = random_signs(controls, items, seed, behavior)
    # of the controls what is written is kept, block by block
    found: dict[str, list[Floats]] = {}
    for both in by_block(activations, range(n_layers)):
        blocks = estimates(*both)
        norms = np.linalg.norm(blocks["mean_difference"], axis=1)
        for name, block in blocks.items():
            found.setdefault(name, []).append(block)
        for number, signs in enumerate(labels):
            shuffled = shuffled_direction(*both, norms, signs).astype(np.float32)
            found.setdefault(f"shuffled-{number}", []).append(shuffled)
    made = {name: np.concatenate(blocks) for name, blocks in found.items()}
    for number in range(controls):
        control = random_direction(made["mean_difference"], seed, behavior, number)
        made[f"random-{number}"] = control.astype(np.float32)
    return {name: vector.astype(np.float32, copy=False) for name, vector in made.items()}
