"""A logistic regression that tells the two answers' activations apart."""

import warnings

import numpy as np
from numpy.typing import NDArray


def estimate(matching: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """The weights [d] of a logistic regression that tells matching (1) from other (0).

    The activations are centred and divided by one number, their root mean square, so that the
    penalty (L2, C = 1) means the same at every block and a rotation of the residual stream rotates
    the probe.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    points = np.concatenate([matching, other]).astype(np.float64)
    points -= points.mean(axis=0)
    scale = np.sqrt((points**2).mean())
    if not scale > 0:
        return np.zeros(points.shape[1])
    labels = np.repeat([1, 0], [len(matching), len(other)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        probe = LogisticRegression(C=1.0, max_iter=10_000).fit(points / scale, labels)
    weights: NDArray[np.float64] = probe.coef_[0]
    return weights
