"""Benchmarks of the steered model, summed up: by category, in all, and over categories."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.flags import few, joined, low_letters
from steerpaper.stats import (
    Estimate,
    Interval,
    clustered_interval,
    mean_interval,
    share_difference_interval,
    share_interval,
)
from steerpaper.steering.tables.flags import beyond_flags, vector_flags
from steerpaper.steering.tables.rows import groups, labelled

ALL = ""  # the category of a row over all questions
MEAN = "mean of categories"  # of one in which each category counts alike
KEYS = ["layer", "layers", "direction", "multiplier"]

Floats = NDArray[np.float64]


def benchmarks_tables(
    scores: Mapping[tuple[str, str], pd.DataFrame],
    blocks: Mapping[tuple[str, str], Mapping[str, Any]],
    *,
    interval: Interval,
) -> pd.DataFrame:
    """Every behaviour's table of every benchmark, below each other.

    Args:
        scores: by behaviour and benchmark, as `benchmarks_table` takes them.
        blocks: of `choose.best_block`, by behaviour and contrast (the leading one).
    """
    of_behavior = {behavior: block for (behavior, _), block in blocks.items()}
    tables = [
        labelled(
            benchmarks_table(found, of_behavior[behavior], interval=interval),
            behavior=behavior,
            benchmark=benchmark,
        )
        for (behavior, benchmark), found in scores.items()
    ]
    return pd.concat(tables, ignore_index=True)


def benchmarks_table(
    scores: pd.DataFrame, block: Mapping[str, Any], *, interval: Interval
) -> pd.DataFrame:
    """Accuracy and the correct choice's probability by multiplier, in all and by category.

    `value` is the accuracy, the share of questions whose correct choice is the likeliest (a draw is
    none), with Wilson's interval; `change` is its difference from the unsteered model over the same
    questions (Bonett and Price 2012).

    `p_correct` is the mean over questions of p(correct) / Σ p(choice), with an interval over them:
    what CAA prints for MMLU and TruthfulQA (nrimsky/CAA at 25dcd48, plot_results.py, lines 57-66),
    there of two choices; its printed average is the unweighted mean over categories
    (`plot_tqa_mmlu_results_for_layer`, from line 122), here the row "mean of categories".

    In that row every question has one over its category's number as its weight, and the intervals
    draw questions with their weights. They hold the spread between categories too, so they are a
    little wider than what the same categories would give with other questions.

    Args:
        scores: contrast, category, item, choices, layer, layers, direction, multiplier, norm,
            logprob, logprob_wrong, p_correct, mass.
        block: of `choose.best_block`.

    Returns:
        category (empty for all), contrast, layer, layers, direction, multiplier, n, value, low,
        high, change, change_low, change_high, p_correct with its interval, chance (the accuracy of
        guessing), flags; the unsteered row stands once for all directions.
    """
    found = [
        row
        for _, of_contrast in scores.groupby("contrast", sort=False)
        for category, weighted, part in _parts(of_contrast)
        for row in _rows(part, block, interval, category, weighted=weighted)
    ]
    return pd.DataFrame(found)


def _parts(scores: pd.DataFrame) -> Iterator[tuple[str, bool, pd.DataFrame]]:
    """The questions in all, the mean over categories, each category: name, whether weighted, rows.

    Of one category alone there is but the whole.
    """
    yield ALL, False, scores
    names = sorted(scores["category"].unique())
    if len(names) > 1:
        yield MEAN, True, scores
        for name in names:
            yield name or "without category", False, scores[scores["category"] == name]


def _rows(
    scores: pd.DataFrame,
    block: Mapping[str, Any],
    interval: Interval,
    category: str,
    *,
    weighted: bool,
) -> Iterator[dict[str, Any]]:
    """A row a condition, of some questions."""
    asked = scores.drop_duplicates("item").sort_values("item")
    # every item has every condition: the intervals of all are made at once
    lead, share = (
        _by_condition(scores.assign(lead=scores["logprob"] - scores["logprob_wrong"]), column)
        for column in ("lead", "p_correct")
    )
    right = np.where(np.isfinite(lead), lead > 0, np.nan).astype(np.float64)
    conditions = list(groups(scores, KEYS))
    unsteered = next(n for n, (key, _) in enumerate(conditions) if key["multiplier"] == 0)
    moved = right - right[:, [unsteered]]
    if weighted:
        weights = 1 / asked.groupby("category")["item"].transform("size").to_numpy(dtype=float)
        items = np.arange(len(asked))
        value, change, p_correct = (
            clustered_interval(one, items, interval, weights=weights)
            for one in (right, moved, share)
        )
    else:
        weights = np.ones(len(asked))
        value = share_interval(right, interval)
        change = share_difference_interval(moved, interval)
        p_correct = mean_interval(share, interval)
    chance = np.average(1 / asked["choices"].to_numpy(dtype=float), weights=weights)
    mass = conditions[unsteered][1]["mass"]
    for number, (key, group) in enumerate(conditions):
        yield {
            "category": category,
            "contrast": scores["contrast"].iloc[0],
            **key,
            "n": len(asked),
            **_estimate(value, number, "value", "low", "high"),
            **_estimate(change, number, "change", "change_low", "change_high"),
            **_estimate(p_correct, number, "p_correct", "p_correct_low", "p_correct_high"),
            "chance": chance,
            "flags": joined(
                *few(len(asked)),
                *low_letters(mass),
                *beyond_flags(group),
                *vector_flags(group, block),
            ),
        }


def _by_condition(scores: pd.DataFrame, column: str) -> Floats:
    """A column as [item, condition]: items by name, conditions as they first appear."""
    number = scores.groupby(KEYS, sort=False, dropna=False).ngroup()
    wide = scores.assign(number=number).pivot(index="item", columns="number", values=column)
    found: Floats = wide.sort_index().to_numpy(dtype=float)
    return found


def _estimate(of: Estimate, number: int, *names: str) -> dict[str, float]:
    return {name: float(part[number]) for name, part in zip(names, of, strict=True)}
