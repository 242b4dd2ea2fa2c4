"""System prompts for and against a behaviour, summed up."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.stats import Interval
from steerpaper.steering.comparison import of_prompts
from steerpaper.steering.conditions import BEHAVIOR, WITHOUT
from steerpaper.steering.first_order import Floats, random_spread
from steerpaper.steering.slopes import slopes
from steerpaper.steering.tables.flags import effect_flags
from steerpaper.steering.tables.rows import groups, means, measured, of_measures
from steerpaper.workflow.files import Arrays

PROPENSITY = "p_matching"


def system_prompts_table(
    scores: pd.DataFrame,
    block: Mapping[str, Any],
    *,
    interval: Interval,
    measures: Sequence[str],
) -> pd.DataFrame:
    """Mean score by system prompt × multiplier, its change, and the slope under a system prompt.

    Args:
        scores: prompt_id, matching, system_prompt, layer, layers, multiplier, norm, note and the
            log-probabilities; a system prompt that could not be had has one row without a score.
        block: of `choose.best_block`.

    Returns:
        system_prompt, layer, layers, multiplier, n, the measure, change (from the unsteered run
        without a system prompt) and slope (steerability under that system prompt) with intervals,
        note (why n is 0), flags.
    """
    return of_measures(scores, measures, lambda part, name: _table(part, name, block, interval))


def propensity_table(
    scores: pd.DataFrame,
    block: Mapping[str, Any],
    gradients: Arrays,
    vectors: Arrays,
    prompts: Iterable[Mapping[str, Any]],
    *,
    interval: Interval,
    system: str | None,
) -> pd.DataFrame:
    """Mean propensity by system prompt × multiplier: Panickssery et al. 2023, figures of section 5.

    The mean over test items of p(matching) / (p(matching) + p(other)), as their code has it
    (nrimsky/CAA at 25dcd48, plot_results.py, lines 57-66), whatever measure the study's other
    tables hold.

    Args:
        scores, block: as `system_prompts_table` takes them.
        gradients: test, [item, L, d], of the study's own prompts.
        vectors: the directions that steer, [L, d].
        prompts: the test items' own prompts, in the gradients' order.
        system: the study's system prompt; with one, its own prompts are not those without any.

    Returns:
        system_prompt, layer, layers, multiplier, n, p_matching with its interval over items,
        control_low and control_high (of prompts without a system prompt: between what it would lie
        under a random direction of the same norm, to first order), flags; n = 0 where a system
        prompt could not be had.
    """
    scores = measured(scores, PROPENSITY)
    rows = []
    for row, group in groups(scores, ["system_prompt", "layer", "layers", "multiplier"]):
        alike = scores[scores["system_prompt"] == row["system_prompt"]]
        rows.append(
            row
            | {"n": int(group["value"].notna().sum())}
            | means(group, {"value": PROPENSITY}, "prompt_id", interval)
            | {"flags": effect_flags(alike[alike["multiplier"] == 0], alike, block)}
        )
    table = pd.DataFrame(rows)
    plain = _unsteered(scores)
    spread = np.nan
    if not system:
        wanted = [{"id": name} for name in plain["prompt_id"]]
        of_items = of_prompts(gradients["test"], list(prompts), wanted)
        spread = propensity_spread(of_items, plain["value"], vectors[BEHAVIOR], block["layers"])
    half = NormalDist().inv_cdf(1 - interval.tail) * spread * table["multiplier"].abs()
    half = half.where(table["system_prompt"].isin(WITHOUT))
    table.insert(len(table.columns) - 1, "control_low", plain["value"].mean() - half)
    table.insert(len(table.columns) - 1, "control_high", plain["value"].mean() + half)
    # of a share no mean lies elsewhere
    ends = [f"{PROPENSITY}_low", f"{PROPENSITY}_high", "control_low", "control_high"]
    table[ends] = table[ends].clip(0, 1)
    return table


def propensity_spread(
    gradients: Floats, propensity: "pd.Series[float]", vector: Floats, layers: Sequence[int]
) -> float:
    """How far multiplier 1 of random directions of a vector's norm moves the mean propensity.

    The propensity p is the logistic function of the logit difference, so that its gradient is
    p (1 - p) times the logit difference's. To first order, see `first_order.random_spread`.

    Args:
        gradients: [item, L, d], of the logit difference.
        propensity: [item], unsteered.
        vector: [L, d].
        layers: the blocks that are steered together.
    """
    p = propensity.to_numpy(dtype=np.float64)
    return random_spread((p * (1 - p))[:, None, None] * gradients, vector, layers)


def _unsteered(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows without a system prompt and without steering, one an item."""
    return scores[scores["system_prompt"].isin(WITHOUT) & (scores["multiplier"] == 0)]


def _table(
    scores: pd.DataFrame, measure: str, block: Mapping[str, Any], interval: Interval
) -> pd.DataFrame:
    base = _unsteered(scores).set_index("prompt_id")["value"]
    scores = scores.assign(change=scores["value"] - scores["prompt_id"].map(base))
    steered = {}
    for name, group in scores.dropna(subset=["value"]).groupby("system_prompt"):
        wide = group.pivot(index="prompt_id", columns="multiplier", values="value")
        steered[name] = pd.Series(
            slopes(wide.columns.to_numpy(dtype=float), wide.to_numpy()), index=wide.index
        )
    rows = []
    for row, group in groups(scores, ["system_prompt", "layer", "layers", "multiplier"]):
        slope = steered.get(row["system_prompt"], pd.Series(dtype=float))
        group = group.assign(slope=group["prompt_id"].map(slope))
        columns = {"value": measure, "change": "change", "slope": "slope"}
        alike = scores[scores["system_prompt"] == row["system_prompt"]]
        items = alike[alike["multiplier"] == 0]
        rows.append(
            row
            | {"n": int(group["value"].notna().sum())}
            | means(group, columns, "prompt_id", interval)
            # the slope stands in every row
            | {"note": group["note"].iloc[0], "flags": effect_flags(items, alike, block)}
        )
    return pd.DataFrame(rows)
