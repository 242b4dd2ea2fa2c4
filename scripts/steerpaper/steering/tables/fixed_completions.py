"""Fixed completions under steering, summed up: how much likelier each side's become."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.stats import (
    Floats,
    Interval,
    clustered_interval,
    difference_interval,
)
from steerpaper.steering.conditions import NO_LAYER, UNSTEERED
from steerpaper.steering.labels import LABELS, MATCHING, OTHER
from steerpaper.steering.tables.rows import labelled

CONDITION = ["direction", "layer", "layers", "multiplier"]


def logprobs_table(logprobs: Iterable[pd.DataFrame], *, interval: Interval) -> pd.DataFrame:
    """Mean change of the log-probability of fixed completions, of every contrast.

    Args:
        logprobs: parts of a behaviour's table (see `fixed_completions.logprob_rows`).
    """
    totals = prompt_totals(logprobs)
    tables = [
        labelled(logprob_table(part, interval), contrast=str(contrast))
        for contrast, part in totals.groupby("contrast", sort=False)
    ]
    return pd.concat(tables, ignore_index=True)


def prompt_totals(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Sums over a prompt's completions of one label, for every condition, from parts of a table.

    Args:
        parts: tables of `COLUMNS`; identical completions are one row with their count.

    Returns:
        contrast, prompt_id, label and the condition, with the sums weight (completions), distinct,
        logprob and change.
    """
    keys = ["contrast", "prompt_id", "label", *CONDITION]
    sums = []
    for part in parts:
        count = part["count"]
        weighted = part[keys].assign(
            weight=count,
            distinct=1,
            logprob=part["logprob"] * count,
            change=part["change"] * count,
        )
        sums.append(weighted.groupby(keys, sort=False, as_index=False).sum())
    # a prompt may lie across two parts
    return pd.concat(sums).groupby(keys, sort=False, as_index=False).sum()


def logprob_table(totals: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Mean change of the log-probability of one contrast's fixed completions, per condition.

    For each label the mean over its completions, and `difference`, matching's less other's; with
    bootstrap intervals that draw whole prompts. A label that no completion has is a row of n = 0
    without numbers; from a single prompt there is no interval.

    Args:
        totals: of `prompt_totals`, of one behaviour and contrast.

    Returns:
        the condition, label, n_prompts, n (completions), distinct, logprob, change, low, high.
    """
    prompts = sorted(totals["prompt_id"].unique())
    steered = totals.loc[totals["direction"] != UNSTEERED, CONDITION].drop_duplicates()
    sets = steered[["direction", "layer", "layers"]].drop_duplicates()
    # the unsteered run is multiplier 0 of every set of blocks
    order = pd.concat([steered, sets.assign(multiplier=0.0)]).sort_values(
        ["direction", "layer", "layers", "multiplier"], ignore_index=True
    )
    base = totals[totals["direction"] == UNSTEERED]

    means: dict[str, tuple[Floats, Floats]] = {}  # label: change [prompt, condition], weight
    tables = []
    for label in LABELS:
        of_label = base[base["label"] == label].set_index("prompt_id").reindex(prompts)
        weight = of_label["weight"].fillna(0).to_numpy(dtype=float)
        part = totals[totals["label"] == label]
        sums = {name: _by_condition(part, name, prompts, order) for name in ("logprob", "change")}
        per_prompt = {
            name: np.divide(
                total, weight[:, None], out=np.zeros_like(total), where=weight[:, None] > 0
            )
            for name, total in sums.items()
        }
        change, low, high = clustered_interval(
            per_prompt["change"], np.array(prompts), interval, weights=weight
        )
        means[label] = per_prompt["change"], weight
        counts = _counts(weight, of_label["distinct"].sum())
        logprob = sums["logprob"].sum(axis=0) / weight.sum() if weight.sum() else np.nan
        tables.append(_rows(order, label, counts, logprob, change, low, high))
    change, low, high = difference_interval(*means[MATCHING], *means[OTHER], interval)
    counts = {
        name: min(int(table[name].iloc[0]) for table in tables[:2])
        for name in ("n_prompts", "n", "distinct")
    }
    tables.append(_rows(order, "difference", counts, np.nan, change, low, high))
    return pd.concat(tables, ignore_index=True)


def _by_condition(
    totals: pd.DataFrame, name: str, prompts: list[str], order: pd.DataFrame
) -> Floats:
    """Sums [prompt, condition]; 0 where a prompt has none; multiplier 0 is the unsteered run."""
    wide = totals.pivot(index="prompt_id", columns=CONDITION, values=name)
    wide = wide.reindex(index=prompts).fillna(0.0)
    found = np.zeros((len(prompts), len(order)))
    for column, row in enumerate(order.itertuples(index=False)):
        key = tuple(row) if row.multiplier else (UNSTEERED, NO_LAYER, "", 0.0)
        if key in wide.columns:
            found[:, column] = wide[key]
    return found


def _counts(weight: Floats, distinct: float) -> dict[str, int]:
    return {
        "n_prompts": int((weight > 0).sum()),
        "n": int(weight.sum()),
        "distinct": int(distinct),
    }


def _rows(
    order: pd.DataFrame,
    label: str,
    counts: dict[str, int],
    logprob: Any,
    change: Floats,
    low: Floats,
    high: Floats,
) -> pd.DataFrame:
    known = counts["n_prompts"] > 1
    return order.assign(
        label=label,
        **counts,
        logprob=logprob,
        change=change,
        low=low if known else np.nan,
        high=high if known else np.nan,
    )
