"""Tables on the geometry of steering vectors; one observation a row."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.engine.layers import resolve_layers
from steerpaper.stats import Interval, mean_interval
from steerpaper.steering.vectors import (
    Floats,
    by_block,
    chance_dependence,
    cosine,
    principal_components,
    side_dependence,
)
from steerpaper.workflow.files import Sliced

Name = tuple[str, str]  # behaviour, contrast


def geometry_tables(
    activations: Mapping[Name, Mapping[str, Sliced]],
    vectors: Mapping[Name, Mapping[str, Sliced]],
    prompts: Mapping[Name, Iterable[Mapping[str, Any]]],
    *,
    interval: Interval,
    layers: Any,
) -> dict[str, pd.DataFrame]:
    """All tables of the vectors' geometry.

    Activations are looked at block by block, so that a block's are in memory and not all.

    Args:
        activations: matching and other, [item, L, d] each, and their tokens' norms, [item, L] each
            (see `activations.read_activations`), as arrays or on disk.
        vectors: every estimator's, [L, d] each; the mean difference's are looked at.
        prompts: rows of the prompt files that the activations are of.
        layers: the blocks whose principal components are asked for (see `resolve_layers`).
    """
    means = {name: found["mean_difference"][:] for name, found in vectors.items()}
    n_layers = len(next(iter(means.values())))
    shown = resolve_layers(layers, n_layers, "figures.layers")
    return {
        "norms": norms(
            activations,
            means,
            {name: [row["side"] for row in rows] for name, rows in prompts.items()},
            interval,
        ),
        "cosine_blocks": cosine_blocks(means),
        "cosine_behaviors": cosine_behaviors(means),
        "pca": pca(activations, shown),
    }


def norms(
    activations: Mapping[Name, Mapping[str, Sliced]],
    vectors: Mapping[Name, Floats],
    sides: Mapping[Name, Sequence[str | None]],
    interval: Interval,
) -> pd.DataFrame:
    """Norm of every vector and mean norm of the residual stream, block by block.

    `residual` is the mean over items, both answers and their tokens of the residual stream's norm,
    with an interval over items. `side_share` is how much of the vector is one side against the
    other (see `side_dependence`), `side_chance` what it is where sides mean nothing; both are empty
    where answers have no sides.

    Args:
        sides: of the items: the matching answer's letter, or Yes or No; or None.
    """
    tables = []
    for (behavior, contrast), vector in vectors.items():
        both = activations[behavior, contrast]
        residual = (both["matching_norms"][:].astype(float) + both["other_norms"][:]) / 2
        mean, low, high = mean_interval(residual, interval)
        shares = [
            (side_dependence(*answers), chance_dependence(*answers))
            for matching, other in by_block(both, range(len(vector)))
            for answers in [(matching, other, sides[behavior, contrast])]
        ]
        side_share, side_chance = map(np.concatenate, zip(*shares, strict=True))
        tables.append(
            pd.DataFrame(
                {
                    "behavior": behavior,
                    "contrast": contrast,
                    "layer": np.arange(len(vector)),
                    "n": len(residual),
                    "vector": np.linalg.norm(vector, axis=1),
                    "residual": mean,
                    "residual_low": low,
                    "residual_high": high,
                    "side_share": side_share,
                    "side_chance": side_chance,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def cosine_blocks(vectors: Mapping[Name, Floats]) -> pd.DataFrame:
    """Cosine similarity of a behaviour's vectors at every two blocks."""
    tables = []
    for (behavior, contrast), vector in vectors.items():
        similarity = cosine(vector, vector)
        one, two = np.indices(similarity.shape)
        tables.append(
            pd.DataFrame(
                {
                    "behavior": behavior,
                    "contrast": contrast,
                    "layer": one.ravel(),
                    "other_layer": two.ravel(),
                    "cosine": similarity.ravel(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def cosine_behaviors(vectors: Mapping[Name, Floats]) -> pd.DataFrame:
    """Cosine similarity of every two behaviours' vectors of one contrast, at every block."""
    rows = []
    for (behavior, contrast), vector in vectors.items():
        for (other, other_contrast), other_vector in vectors.items():
            if contrast != other_contrast:
                continue
            for layer, (a, b) in enumerate(zip(vector, other_vector, strict=True)):
                rows.append((contrast, layer, behavior, other, cosine(a[None], b[None]).item()))
    return pd.DataFrame(rows, columns=["contrast", "layer", "behavior", "other", "cosine"])


def pca(activations: Mapping[Name, Mapping[str, Sliced]], layers: Sequence[int]) -> pd.DataFrame:
    """First two principal components of a behaviour's activations at the chosen blocks.

    Figure 2 of Panickssery et al. 2023. Matching and other activations are projected together.
    """
    tables = []
    for (behavior, contrast), both in activations.items():
        for layer, (matching, other) in zip(layers, by_block(both, layers), strict=True):
            points = np.concatenate([matching[:, 0], other[:, 0]])
            projected, share = principal_components(points, 2)
            n = len(matching)
            tables.append(
                pd.DataFrame(
                    {
                        "behavior": behavior,
                        "contrast": contrast,
                        "layer": layer,
                        "item": np.tile(np.arange(n), 2),
                        "answer": np.repeat(["matching", "other"], n),
                        "pc1": projected[:, 0],
                        "pc2": projected[:, 1],
                        "share1": share[0],
                        "share2": share[1],
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)
