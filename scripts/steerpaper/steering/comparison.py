"""Comparing directions: the block that suits each, and what a random one would do there.

All to first order (see `first_order`), from gradients of every item at every block, [item, L, d].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.engine.condition import Condition
from steerpaper.steering.first_order import first_order_slopes, random_spread
from steerpaper.steering.slopes import standardized_slopes
from steerpaper.steering.vectors import Floats

Layers = tuple[int, ...]


def own_block(gradients: Floats, vector: Floats, blocks: Sequence[int]) -> int | None:
    """The block where a vector's first-order slope is highest in units of its standard error.

    None where no block has such a slope: a vector of norm zero, a single item or none.

    Args:
        gradients: [item, L, d], of dev items: the block is not chosen on what it reports.
        blocks: those that are asked for.
    """
    if not len(gradients):
        return None
    slopes = [first_order_slopes(gradients[:, block], vector[block]) for block in blocks]
    found = standardized_slopes(np.stack(slopes, axis=1))
    if not np.isfinite(found).any():
        return None
    return blocks[int(np.nanargmax(found))]


def places(
    gradients: Floats,
    vectors: Mapping[str, Floats],
    names: Sequence[str],
    blocks: Sequence[int],
    chosen: Layers,
) -> dict[tuple[str, str], Layers]:
    """Where each estimator's vector is added, by name and `at`: its `own` block, the `chosen` one.

    An estimator without a block of its own stays at the chosen one.

    Args:
        gradients, blocks: as in `own_block`.
        vectors: [L, d] by name.
        chosen: the block, or blocks, of the vector that steers.
    """
    found = {}
    for name in names:
        own = own_block(gradients, vectors[name], blocks)
        found[name, "own"] = chosen if own is None else (own,)
        found[name, "chosen"] = chosen
    return found


def by_place(table: pd.DataFrame, where: Mapping[tuple[str, str], Layers]) -> pd.DataFrame:
    """Scores with a column `at`; a condition that stands for two places has its rows twice.

    Args:
        table: of scores; a direction is an estimator's name.
    """
    labels = {key: "+".join(map(str, layers)) for key, layers in where.items()}
    steered = table["layers"] != ""
    parts = [table[~steered].assign(at="")]
    for (name, at), label in labels.items():
        rows = table[steered & (table["direction"] == name) & (table["layers"] == label)]
        parts.append(rows.assign(at=at))
    return pd.concat(parts, ignore_index=True)


def of_prompts(
    gradients: Floats, prompts: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> Floats:
    """The gradients of some of the prompts, [wanted, L, d], by their ids.

    Args:
        gradients: [prompt, L, d].
    """
    place = {prompt["id"]: number for number, prompt in enumerate(prompts)}
    return gradients[[place[prompt["id"]] for prompt in wanted]]


def with_controls(
    table: pd.DataFrame,
    gradients: Floats,
    vectors: Mapping[str, Floats],
    wanted: Sequence[Condition],
) -> pd.DataFrame:
    """A table of scores with `control_sd`: how far random directions' mean slopes spread there.

    See `first_order.random_spread`; not-a-number unsteered.

    Args:
        table: direction, layers.
        gradients: [item, L, d] of the table's items.
        vectors: [L, d] by a direction's name, whose norms random directions would have.
    """
    spread = {
        (one.direction, one.label): random_spread(gradients, vectors[one.direction], one.layers)
        for one in wanted
    }
    steered = zip(table["direction"], table["layers"], strict=True)
    return table.assign(control_sd=[spread.get(key, np.nan) for key in steered])
