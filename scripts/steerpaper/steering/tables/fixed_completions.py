"""Fixed completions under steering, summed up: how much likelier each side's become."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.flags import beyond_scaling, few, joined
from steerpaper.stats import (
    Floats,
    Interval,
    clustered_interval,
    control_band,
    difference_interval,
    share_interval,
)
from steerpaper.steering.conditions import NO_LAYER, UNSTEERED, kind_of
from steerpaper.steering.labels import LABELS, MATCHING, OTHER
from steerpaper.steering.tables.flags import block_flags
from steerpaper.steering.tables.rows import labelled

CONDITION = ["direction", "layer", "layers", "multiplier"]
LETTERS = ("A", "B")
DIFFERENCE, LETTER_DIFFERENCE = "difference", "A − B"


def logprobs_table(
    logprobs: Mapping[str, Iterable[pd.DataFrame]],
    blocks: Mapping[tuple[str, str], Mapping[str, Any]],
    *,
    interval: Interval,
) -> pd.DataFrame:
    """Mean change of the log-probability of fixed completions, of every behaviour.

    Args:
        logprobs: by behaviour (see `of_behavior`).
        blocks: of `choose.best_block`, by behaviour and contrast.

    Returns:
        behavior, and what `of_behavior` gives.
    """
    tables = []
    for name, parts in logprobs.items():
        own = {contrast: one for (behavior, contrast), one in blocks.items() if behavior == name}
        tables.append(labelled(of_behavior(parts, own, interval=interval), behavior=name))
    return pd.concat(tables, ignore_index=True)


def of_behavior(
    logprobs: Iterable[pd.DataFrame],
    blocks: Mapping[str, Mapping[str, Any]],
    *,
    interval: Interval,
) -> pd.DataFrame:
    """Mean change of the log-probability of fixed completions, of every contrast and form.

    Of letters also the means of the completions that answer with A, and with B, whichever is the
    matching letter: A − B is what a vector that pushes a letter would move.

    Args:
        logprobs: parts of a behaviour's table (see `fixed_completions.logprob_rows`).
        blocks: of `choose.best_block`, by contrast.

    Returns:
        contrast, form, and what `logprob_table` gives; flags.
    """
    totals = prompt_totals(logprobs)
    tables = []
    for (contrast, form), part in totals.groupby(["contrast", "form"], sort=False):
        made = [logprob_table(part, LABELS, DIFFERENCE, interval)]
        if part["side"].isin(LETTERS).any():
            made.append(logprob_table(by_letter(part), LETTERS, LETTER_DIFFERENCE, interval))
        table = with_control_bands(pd.concat(made, ignore_index=True), interval)
        flags = _flags(table, blocks[str(contrast)], beyond_scaling(part["beyond"] > 0))
        table = table.assign(flags=flags)
        tables.append(labelled(table, contrast=str(contrast), form=str(form)))
    return pd.concat(tables, ignore_index=True)


def _flags(table: pd.DataFrame, block: Mapping[str, Any], of_all: Sequence[str]) -> list[str]:
    """Flags of every row; what is said of the chosen block is said of no other, nor unsteered.

    A row without completions has no number, and none to doubt.

    Args:
        of_all: those of all completions.
    """
    chosen = "+".join(map(str, block["layers"]))
    of_block = block_flags(block)
    return [
        joined(*few(n), *of_all, *(of_block if layers == chosen and multiplier else []))
        if n
        else ""
        for n, layers, multiplier in table[["n_prompts", "layers", "multiplier"]].to_numpy()
    ]


def prompt_totals(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Sums over a prompt's completions of one label, for every condition, from parts of a table.

    Args:
        parts: tables of `COMPLETION` and conditions; identical completions are one row with their
            count.

    Returns:
        contrast, form, prompt_id, side, label and the condition, with the sums weight
        (completions), distinct, logprob, change and beyond (rows that are beyond_scaling).
    """
    keys = ["contrast", "form", "prompt_id", "side", "label", *CONDITION]
    sums = []
    for part in parts:
        count = part["count"]
        weighted = part[keys].assign(
            side=part["side"].fillna(""),
            weight=count,
            distinct=1,
            beyond=part["beyond_scaling"].astype(int) if "beyond_scaling" in part else 0,
            logprob=part["logprob"] * count,
            change=part["change"] * count,
        )
        sums.append(weighted.groupby(keys, sort=False, as_index=False).sum())
    # a prompt may lie across two parts
    return pd.concat(sums).groupby(keys, sort=False, as_index=False).sum()


def by_letter(totals: pd.DataFrame) -> pd.DataFrame:
    """Totals whose label is the letter that the completions answer with."""
    swapped = {"A": "B", "B": "A"}
    matching = totals["label"] == MATCHING
    letter = totals["side"].where(matching, totals["side"].map(swapped))
    return totals.assign(label=letter.where(totals["label"].isin([MATCHING, OTHER]), ""))


def logprob_table(
    totals: pd.DataFrame, labels: Sequence[str], difference: str, interval: Interval
) -> pd.DataFrame:
    """Mean change of the log-probability of one contrast's fixed completions, per condition.

    For each label the mean over its completions, and the first label's less the second's, with
    intervals over whole prompts (see `stats.clustered_interval`). A label that no completion has is
    a row of n = 0 without numbers.

    Args:
        totals: of `prompt_totals`, of one behaviour, contrast and form.
        labels: those that have a row.
        difference: what the label of the difference is called.

    Returns:
        the condition, label, n_prompts, n (completions), distinct, share (of all completions, with
        share_low and share_high: between what it lies, prompts taken whole), logprob, change, low,
        high.
    """
    prompts = sorted(totals["prompt_id"].unique())
    steered = totals.loc[totals["direction"] != UNSTEERED, CONDITION].drop_duplicates()
    sets = steered[["direction", "layer", "layers"]].drop_duplicates()
    # the unsteered run is multiplier 0 of every set of blocks
    order = pd.concat([steered, sets.assign(multiplier=0.0)]).sort_values(
        ["direction", "layer", "layers", "multiplier"], ignore_index=True
    )
    base = totals[totals["direction"] == UNSTEERED]
    every = base.groupby("prompt_id")["weight"].sum().reindex(prompts).to_numpy(dtype=float)

    means: list[tuple[Floats, Floats]] = []  # a label's change [prompt, condition], and weight
    tables = []
    for label in labels:
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
        found = clustered_interval(
            per_prompt["change"], np.array(prompts), interval, weights=weight
        )
        means.append((per_prompt["change"], weight))
        logprob = sums["logprob"].sum(axis=0) / weight.sum() if weight.sum() else np.nan
        columns = {
            **_counts(weight, of_label["distinct"].sum()),
            **_share(weight, every, interval),
            "logprob": logprob,
        }
        tables.append(_rows(order, label, columns, *found))
    found = difference_interval(*means[0], *means[1], interval)
    counts = {
        name: min(int(table[name].iloc[0]) for table in tables[:2])
        for name in ("n_prompts", "n", "distinct")
    }
    tables.append(_rows(order, difference, counts, *found))
    return pd.concat(tables, ignore_index=True)


def with_control_bands(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """The table with one row for all random directions, between what one more would lie.

    A row of several directions has their mean change, and `directions`, their number.
    """
    control = table["direction"].map(kind_of) != ""
    keys = ["layer", "layers", "multiplier", "label"]
    rows = []
    for _, group in table[control & (table["multiplier"] != 0)].groupby(keys, sort=False):
        changes = group["change"].to_numpy(dtype=float)
        low, high = control_band(changes, interval)
        row = {str(key): value for key, value in group.iloc[0].items()}
        row |= {"direction": kind_of(row["direction"]), "directions": len(group)}
        rows.append(row | {"change": changes.mean(), "low": low, "high": high, "logprob": np.nan})
    return pd.concat([table[~control], pd.DataFrame(rows)], ignore_index=True)


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


def _share(weight: Floats, every: Floats, interval: Interval) -> dict[str, float]:
    """The share of a label among all completions, prompts taken whole."""
    hits = np.concatenate(
        [np.arange(n) < hit for n, hit in zip(every.astype(int), weight.astype(int), strict=True)]
    )
    prompts = np.arange(len(every)).repeat(every.astype(int))
    found = share_interval(hits.astype(float), interval, prompts)
    return dict(zip(("share", "share_low", "share_high"), map(float, found), strict=True))


def _rows(
    order: pd.DataFrame,
    label: str,
    columns: Mapping[str, Any],
    change: Floats,
    low: Floats,
    high: Floats,
) -> pd.DataFrame:
    return order.assign(label=label, **columns, change=change, low=low, high=high)
