"""Estimators of a behaviour's direction: one file each, whose name is the configuration's key.

A file defines `estimate(matching [item, d], other [item, d]) -> [d]`, a direction at one block, of
any norm, that points from other to matching. All estimators get one norm, so that a multiplier
means the same whichever is chosen: the mean difference's at every block.
"""

from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# an estimator's module becomes an attribute here: a function of its name would be hidden by it
from steerpaper.steering import vectors
from steerpaper.steering.vectors import Floats, scaled_to

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


def estimates(matching: Floats, other: Floats) -> dict[str, NDArray[np.float64]]:
    """Every estimator's vectors of all blocks, with the mean difference's norms.

    Args:
        matching, other: [item, L, d], the rows of an item side by side.

    Returns:
        float64 [L, d] under every name.
    """
    norms = np.linalg.norm(vectors.mean_difference(matching, other), axis=1)
    found = {}
    for name in NAMES:
        estimate = import_module(f"{__name__}.{name}").estimate
        directions = [estimate(matching[:, layer], other[:, layer]) for layer in range(len(norms))]
        found[name] = scaled_to(np.stack(directions), norms)
    return found
