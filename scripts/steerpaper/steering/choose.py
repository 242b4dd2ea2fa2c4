"""Which block is reported: the configured one, or the best on dev."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import pandas as pd

from steerpaper.errors import UserError
from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.steering.slopes import slopes, steered, wide


def join_shards(shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The score table that one sweep of all blocks gives, from those of its block ranges in order.

    Every shard holds the unsteered run: the first one's is kept.
    """
    joined = pd.concat(shards, ignore_index=True)
    joined = joined[~joined.duplicated(["prompt_id", "layer", "direction", "multiplier"])]
    place = {prompt: number for number, prompt in enumerate(joined["prompt_id"].unique())}
    order = joined["prompt_id"].map(place).argsort(kind="stable")
    return joined.iloc[order].reset_index(drop=True)


def best_block(scores: pd.DataFrame, layer: int | list[int] | str) -> dict[str, Any]:
    """The block to report: the configured one, or that of the highest mean slope on these items.

    The slope is the logit difference's, whatever measures the tables hold. `layer` may be a set of
    blocks, steered together. The result names all blocks as `layers` and the first as `layer`.

    Raises:
        UserError: the scores hold test items: the best block is never chosen on what it reports;
            or no slope is a number.
    """
    if set(scores["split"]) != {"dev"}:
        raise UserError("the best block must be chosen on dev items alone")
    if layer != "auto":
        layers = [layer] if isinstance(layer, int) else sorted(map(int, layer))
        return {"layer": layers[0], "layers": layers, "chosen": "by configuration"}
    scores = scores.assign(value=scores["logit_diff"])
    found: list[tuple[float, int]] = []
    for block, direction in steered(scores):
        if direction == BEHAVIOR:
            multipliers, values, _ = wide(scores, block, direction)
            found.append((float(slopes(multipliers, values).mean()), block))
    found = [entry for entry in found if isfinite(entry[0])]
    if not found:
        raise UserError("the best block cannot be chosen: no block has a slope that is a number")
    slope, block = max(found, key=lambda entry: (entry[0], -entry[1]))
    n = scores["prompt_id"].nunique()
    return {"layer": block, "layers": [block], "chosen": "on dev", "slope": slope, "n": n}
