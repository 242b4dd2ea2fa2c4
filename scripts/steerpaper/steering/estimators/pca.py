"""The first principal component of the differences."""

import numpy as np
from numpy.typing import NDArray


def estimate(matching: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """The first principal component of the differences matching - other, as a unit vector [d].

    The differences are not centred (Zou et al. 2023, arXiv 2310.01405, appendix C: with every pair
    in both orders their mean is zero): centring would take away what all of them share, which is
    the behaviour. The sign is that of the mean difference's projection.
    """
    differences = matching.astype(np.float64) - other.astype(np.float64)
    _, _, axes = np.linalg.svd(differences, full_matrices=False)
    axis: NDArray[np.float64] = axes[0]
    return axis if differences.mean(axis=0) @ axis >= 0 else -axis
