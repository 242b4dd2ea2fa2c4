"""Transfer: the vector of one block, added to the residual stream after another."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.stats import Floats, bootstrap_mean, slopes
from steerpaper.steering.conditions import UNSTEERED, Condition
from steerpaper.steering.estimators import scaled_to


def transferred(
    vector: Floats, sources: Sequence[int], norm: str
) -> dict[str, NDArray[np.float64]]:
    """For every source block its vector at every block, as directions to steer with.

    Args:
        vector: [L, d].
        norm: `source` leaves the source vector's norm (Panickssery et al. 2023, appendix on
            transfer between layers); `target` gives it that of the target block's own vector,
            so that directions are compared and not norms, which grow with depth.

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
    sources: Sequence[int], targets: Sequence[int], multipliers: Sequence[float]
) -> list[Condition]:
    """Every source × target × multiplier but 0."""
    return [
        Condition((target,), str(source), float(multiplier))
        for source in sources
        for target in targets
        for multiplier in sorted(multipliers)
        if multiplier
    ]


def condition_scores(
    prompts: Sequence[Mapping[str, Any]],
    conditions: Sequence[Condition],
    unsteered: Floats,
    steered: Floats,
) -> pd.DataFrame:
    """One row per prompt and condition, the unsteered run first.

    Args:
        unsteered: [prompt, 2] log-probability of the matching and the other continuation, nats.
        steered: [prompt, condition, 2] likewise.

    Returns:
        behavior, contrast, prompt_id, direction, layer, layers, multiplier, logit_diff.
    """
    logprob = np.concatenate([unsteered[:, None], steered], axis=1)
    n, k = logprob.shape[:2]
    columns: dict[str, Any] = {
        new: np.repeat([prompt[old] for prompt in prompts], k)
        for new, old in (("behavior", "behavior"), ("contrast", "contrast"), ("prompt_id", "id"))
    }
    return pd.DataFrame(
        columns
        | {
            "direction": np.tile(["", *(c.direction for c in conditions)], n),
            "layer": np.tile([UNSTEERED, *(c.layers[0] for c in conditions)], n),
            "layers": np.tile(["", *(c.label for c in conditions)], n),
            "multiplier": np.tile([0.0, *(c.multiplier for c in conditions)], n),
            "logit_diff": (logprob[..., 0] - logprob[..., 1]).ravel(),
        }
    )


def slopes_by_direction(
    scores: pd.DataFrame, *, seed: int, resamples: int, confidence: float
) -> pd.DataFrame:
    """Mean steerability slope of every direction at every block, with a bootstrap interval.

    Args:
        scores: of `condition_scores`, of one behaviour and contrast.

    Returns:
        direction, layer, layers, n, slope, low, high (nats per unit multiplier), and
        anti_steerable, the share of items of negative slope.
    """
    unsteered = scores["layer"] == UNSTEERED
    base = scores[unsteered].set_index("prompt_id")["logit_diff"]
    rows = []
    keys = ["direction", "layer", "layers"]
    for key, part in scores[~unsteered].groupby(keys, sort=False):
        wide = part.pivot(index="prompt_id", columns="multiplier", values="logit_diff")
        values = np.column_stack([base.loc[wide.index].to_numpy(), wide.to_numpy()])
        slope = slopes(np.array([0.0, *wide.columns]), values)
        mean, low, high = bootstrap_mean(
            slope, seed=seed, resamples=resamples, confidence=confidence
        )
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "n": len(slope),
                "slope": float(mean),
                "low": float(low),
                "high": float(high),
                "anti_steerable": float((slope < 0).mean()),
            }
        )
    return pd.DataFrame(rows)
