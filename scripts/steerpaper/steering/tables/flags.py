"""Flags of numbers that sum up scores: what is doubtful about the items, the vector, the block."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from steerpaper.flags import beyond_scaling, few, joined, low_mass, unbalanced, zero


def effect_flags(items: pd.DataFrame, steered: pd.DataFrame, block: Mapping[str, Any]) -> str:
    """Flags of a number that steering gives, as its table's text.

    Args:
        items: the unsteered rows of the items that it rests on: prompt_id, matching (letter, or
            none), ab_mass.
        steered: the rows that it is of: norm, of what multiplier 1 adds. Either has beyond_scaling
            where a model may have been asked beyond its own positions.
        block: of `choose.best_block`; empty for a number that is not one of the chosen block's.
    """
    return joined(
        *few(items["prompt_id"].nunique()),
        *low_mass(items["ab_mass"]),
        *unbalanced(items.drop_duplicates("prompt_id")["matching"]),
        *beyond_flags(items),
        *beyond_flags(steered),
        *vector_flags(steered, block),
    )


def beyond_flags(rows: pd.DataFrame) -> list[str]:
    """Flags of rows by `beyond_scaling`, which those of most models do not have."""
    return beyond_scaling(rows.get("beyond_scaling", pd.Series(dtype=bool)))


def vector_flags(steered: pd.DataFrame, block: Mapping[str, Any]) -> list[str]:
    """Flags of what steers some rows of scores: see `effect_flags`; unsteered rows have none."""
    norms = steered["norm"].dropna()
    if not len(norms):
        return []
    return [*zero(norms.min()), *_among_many(block)]


def block_flags(block: Mapping[str, Any]) -> list[str]:
    """Flags of what the chosen block's vector does, of tables that do not hold its norm.

    Args:
        block: of `choose.best_block`, with `norm_share`.
    """
    share = block.get("norm_share")
    return [*zero(float("nan") if share is None else float(share)), *_among_many(block)]


def _among_many(block: Mapping[str, Any]) -> list[str]:
    return [] if block.get("stands_out", True) else ["no block stands out"]
