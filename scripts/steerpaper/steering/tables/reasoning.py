"""Chains of thought, summed up."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from steerpaper.stats import Interval
from steerpaper.steering.tables.flags import effect_flags
from steerpaper.steering.tables.rows import groups, means, of_measures


def reasoning_table(
    chains: pd.DataFrame,
    block: Mapping[str, Any],
    *,
    interval: Interval,
    measures: Sequence[str],
) -> pd.DataFrame:
    """Mean score after a chain of thought, and its change from the unsteered run, by steered part.

    Args:
        chains: prompt_id, matching, layer, layers, reasoning, steered, multiplier, sample, norm
            and the log-probabilities.
        block: of `choose.best_block`.
        interval: prompts are what is drawn.

    Returns:
        layer, layers, reasoning, steered, multiplier, n (chains), prompts, the measure and change
        with intervals. The change is from the mean of the prompt's unsteered chains, with or
        without reasoning alike. Flags are those of the chains of like reasoning.
    """
    return of_measures(chains, measures, lambda part, name: _table(part, name, block, interval))


def _table(
    chains: pd.DataFrame, measure: str, block: Mapping[str, Any], interval: Interval
) -> pd.DataFrame:
    unsteered = chains[chains["steered"] == "none"]
    means_unsteered = unsteered.groupby(["prompt_id", "reasoning"])["value"].mean()
    base = means_unsteered.loc[
        pd.MultiIndex.from_frame(chains[["prompt_id", "reasoning"]])
    ].to_numpy()
    chains = chains.assign(change=chains["value"] - base)
    rows = []
    for row, group in groups(chains, ["layer", "layers", "reasoning", "steered", "multiplier"]):
        counts = {"n": len(group), "prompts": group["prompt_id"].nunique()}
        columns = {"value": measure, "change": "change"}
        alike = unsteered[unsteered["reasoning"] == row["reasoning"]]
        flags = {"flags": effect_flags(alike, group, block)}
        rows.append(row | counts | means(group, columns, "prompt_id", interval) | flags)
    return pd.DataFrame(rows)
