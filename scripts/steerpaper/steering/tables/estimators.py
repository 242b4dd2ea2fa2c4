"""How the estimators' vectors point."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from steerpaper.steering.conditions import kind_of
from steerpaper.steering.vectors import Floats, cosine


def estimators_cosine(vectors: Mapping[str, Floats]) -> pd.DataFrame:
    """Cosine similarity of every estimator's vector with the mean difference's, block by block.

    Args:
        vectors: [L, d] under every estimator's name; controls are left out.
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
        for name in sorted(vectors)
        if name != "mean_difference" and not kind_of(name)
    ]
    return pd.concat(tables, ignore_index=True)
