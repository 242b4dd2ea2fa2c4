"""Estimators of a behaviour's direction, and the vector that steers.

All estimators share one sign and one norm, so that a multiplier means the same whichever is
chosen: a vector points from other to matching, and its norm at every block is the mean
difference's there.
"""

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.steering.vectors import Floats, cosine, mean_difference

# [item, d] matching, [item, d] other -> [d]: a direction at one block, of any norm
Estimator = Callable[[Floats, Floats], NDArray[np.float64]]


def first_component(matching: Floats, other: Floats) -> NDArray[np.float64]:
    """The first principal component of the differences matching - other, as a unit vector [d].

    The differences are not centred (Zou et al. 2023, arXiv 2310.01405, appendix C: with every pair
    in both orders their mean is zero): centring would take away what all of them share, which is
    the behaviour. The sign is that of the mean difference's projection.
    """
    differences = matching.astype(np.float64) - other.astype(np.float64)
    _, _, axes = np.linalg.svd(differences, full_matrices=False)
    axis: NDArray[np.float64] = axes[0]
    return axis if differences.mean(axis=0) @ axis >= 0 else -axis


def logistic_probe(matching: Floats, other: Floats) -> NDArray[np.float64]:
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


ESTIMATORS: Mapping[str, Estimator] = {
    "mean_difference": mean_difference,
    "pca": first_component,
    "probe": logistic_probe,
}


def estimates(matching: Floats, other: Floats) -> dict[str, NDArray[np.float64]]:
    """Every estimator's vectors of all blocks, with the mean difference's norms.

    Args:
        matching, other: [item, L, d], the rows of an item side by side.

    Returns:
        float64 [L, d] under mean_difference, pca and probe.
    """
    norms = np.linalg.norm(mean_difference(matching, other), axis=1)
    return {
        name: scaled_to(
            np.stack(
                [estimator(matching[:, layer], other[:, layer]) for layer in range(len(norms))]
            ),
            norms,
        )
        for name, estimator in ESTIMATORS.items()
    }


def scaled_to(vectors: Floats, norms: Floats) -> NDArray[np.float64]:
    """Scale every vector of [L, d] to the norm of its block [L]; one of norm zero stays zero."""
    own = np.linalg.norm(vectors.astype(np.float64), axis=1)
    factor = np.divide(norms, own, out=np.zeros_like(own), where=own > 0)
    scaled: NDArray[np.float64] = vectors * factor[:, None]
    return scaled


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
    """Mean norm of the residual stream per block [L], over items and both answers [item, L, d]."""
    both = np.concatenate([matching, other]).astype(np.float64)
    norms: NDArray[np.float64] = np.linalg.norm(both, axis=-1).mean(axis=0)
    return norms


def cosines(vectors: Mapping[str, Floats]) -> pd.DataFrame:
    """Cosine similarity of every estimator's vector with the mean difference's, block by block.

    Args:
        vectors: [L, d] under mean_difference, pca and probe.
    """
    mean = vectors["mean_difference"]
    tables = [
        pd.DataFrame(
            {
                "layer": np.arange(len(mean)),
                "estimator": name,
                "cosine": [
                    cosine(one[None], own[None]).item()
                    for one, own in zip(mean, vectors[name], strict=True)
                ],
            }
        )
        for name in ESTIMATORS
        if name != "mean_difference"
    ]
    return pd.concat(tables, ignore_index=True)
