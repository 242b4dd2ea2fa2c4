"""The paper's estimator: the mean difference of the activations."""

import numpy as np
from numpy.typing import NDArray

from steerpaper.steering import vectors


def estimate(matching: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over the items of matching - other (Panickssery et al. 2023, equation 1), [d]."""
    return vectors.mean_difference(matching, other)
