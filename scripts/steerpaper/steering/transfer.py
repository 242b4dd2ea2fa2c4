"""Transfer: the vector of one block, added to the residual stream after another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from steerpaper.engine.condition import Condition
from steerpaper.steering.conditions import doses
from steerpaper.steering.vectors import Floats, scaled_to


def transferred(
    vector: Floats, sources: Sequence[int], norm: str
) -> dict[str, NDArray[np.float64]]:
    """For every source block its vector at every block, as directions to steer with.

    Args:
        vector: [L, d].
        norm: `source` leaves the source vector's norm; `target` gives it that of the target
            block's own vector, so that directions are compared and not norms, which grow with
            depth.

    Returns:
        float64 [L, d] per name of a source block.
    """
    norms = np.linalg.norm(vector.astype(np.float64), axis=1)
    found = {}
    for source in sources:
        everywhere = np.broadcast_to(vector[source].astype(np.float64), vector.shape)
        own = np.full(len(vector), norms[source])
        found[str(source)] = scaled_to(everywhere, norms if norm == "target" else own)
    return found


def transfer_conditions(
    sources: Sequence[int],
    targets: Sequence[int],
    multipliers: Sequence[float],
    positions: str,
) -> list[Condition]:
    """Every source × target × multiplier but 0."""
    return [
        condition
        for source in sources
        for target in targets
        for condition in doses(target, str(source), multipliers, positions)
    ]
