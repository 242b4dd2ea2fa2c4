"""The mean difference of the activations, by which Panickssery et al. 2023 steer.

In their code: nrimsky/CAA at 0aec415, generate_vectors.py, line 126.
"""

import numpy as np
from numpy.typing import NDArray

from steerpaper.steering import vectors


def estimate(matching: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over the items of matching - other (Panickssery et al. 2023, equation 1), [d]."""
    return vectors.mean_difference(matching, other)
