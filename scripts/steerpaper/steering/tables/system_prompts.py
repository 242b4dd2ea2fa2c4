"""System prompts for and against a behaviour, summed up."""

from collections.abc import Sequence

import pandas as pd

from steerpaper.stats import Interval
from steerpaper.steering.slopes import slopes
from steerpaper.steering.tables.rows import groups, means, of_measures


def system_prompts_table(
    scores: pd.DataFrame, *, interval: Interval, measures: Sequence[str]
) -> pd.DataFrame:
    """Mean score by system prompt × multiplier, its change, and the slope under a system prompt.

    Args:
        scores: prompt_id, system_prompt, layer, layers, multiplier, note and the
            log-probabilities; a system prompt that could not be had has one row without a score.

    Returns:
        system_prompt, layer, layers, multiplier, n, the measure, change (from the unsteered run
        without a system prompt) and slope (steerability under that system prompt) with intervals,
        note (why n is 0).
    """
    return of_measures(scores, measures, lambda part, name: _table(part, name, interval))


def _table(scores: pd.DataFrame, measure: str, interval: Interval) -> pd.DataFrame:
    plain = scores[(scores["system_prompt"] == "none") & (scores["multiplier"] == 0)]
    base = plain.set_index("prompt_id")["value"]
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
        rows.append(
            row
            | {"n": int(group["value"].notna().sum())}
            | means(group, columns, "prompt_id", interval)
            | {"note": group["note"].iloc[0]}
        )
    return pd.DataFrame(rows)
