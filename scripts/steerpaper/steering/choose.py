"""Which block is reported: the configured one, or the one that stands out most on dev."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.steering.slopes import slopes, standardized_slopes, steered, wide

Floats = NDArray[np.float64]
DRAWS = 2000  # of items, and of directions
LEVEL = 0.05  # a block stands out where chance exceeds it in fewer draws than this share


def join_shards(shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The score table that one sweep of all blocks gives, from those of its block ranges in order.

    Every shard holds the unsteered run: the first one's is kept.
    """
    joined = pd.concat(shards, ignore_index=True)
    joined = joined[~joined.duplicated(["prompt_id", "layer", "direction", "multiplier"])]
    place = {prompt: number for number, prompt in enumerate(joined["prompt_id"].unique())}
    order = joined["prompt_id"].map(place).argsort(kind="stable")
    return joined.iloc[order].reset_index(drop=True)


def swept_slopes(scores: pd.DataFrame) -> tuple[list[int], Floats]:
    """The blocks that were swept, and the items' slopes of the logit difference [item, block].

    Raises:
        UserError: the scores hold test items: the best block is never chosen on what it reports.
    """
    if set(scores["split"]) != {"dev"}:
        raise UserError("the best block must be chosen on dev items alone")
    scores = scores.assign(value=scores["logit_diff"])
    layers = [layer for layer, direction in steered(scores) if direction == BEHAVIOR]
    columns = [slopes(*wide(scores, layer, BEHAVIOR)[:2]) for layer in layers]
    return layers, np.stack(columns, axis=1)


def best_block(layers: Sequence[int], slope: Floats, seed: int) -> dict[str, Any]:
    """The block of the highest mean slope in units of its standard error over the items.

    The raw maximum would choose the block whose slope is the least certain. `stability` is the
    share of bootstrap draws of the items that choose the same block.

    Args:
        slope: [item, block].

    Returns:
        layer, layers, chosen, slope, standardized, n, stability.

    Raises:
        UserError: no block has a standardized slope that is a number.
    """
    found = standardized_slopes(slope)
    if not np.isfinite(found).any():
        raise UserError(
            "the best block cannot be chosen: no block has a slope whose standard error over the "
            "dev items is a number; give steering.prompts.split.dev two items or more"
        )
    place, n = _highest(found), len(slope)
    drawn = stream(seed, "stability", n).integers(n, size=(DRAWS, n))
    with np.errstate(invalid="ignore"):
        again = standardized_slopes(slope[drawn])
    # a draw of one item alone has no standard error, and chooses nothing
    again = again[np.isfinite(again).any(axis=1)]
    same = [_highest(row) == place for row in again]
    return {
        "layer": layers[place],
        "layers": [layers[place]],
        "chosen": "on dev",
        "slope": float(slope[:, place].mean()),
        "standardized": float(found[place]),
        "n": n,
        "stability": float(np.mean(same)) if same else None,
    }


def _highest(standardized: Floats) -> int:
    """The place of the highest number, the first of equals."""
    return int(np.nanargmax(standardized))


def configured(layer: int | list[int]) -> dict[str, Any]:
    """The block, or the set of blocks steered together, that the configuration names."""
    layers = [layer] if isinstance(layer, int) else sorted(map(int, layer))
    return {"layer": layers[0], "layers": layers, "chosen": "by configuration"}


def stands_out(standardized: float, by_chance: Mapping[str, Floats]) -> dict[str, Any]:
    """Whether the best of the swept blocks is better than the best of a control's.

    Args:
        standardized: of the chosen block, the highest of all swept blocks.
        by_chance: by kind of control, the highest that each draw has over these blocks: [draw].

    Returns:
        p_dev, the larger of the kinds' (1 + as high) / (1 + draws), and stands_out.
    """
    p = [
        (1 + int((drawn[np.isfinite(drawn)] >= standardized).sum()))
        / (1 + int(np.isfinite(drawn).sum()))
        for drawn in by_chance.values()
    ]
    return {"p_dev": max(p), "stands_out": max(p) < LEVEL}
