"""Summaries of the parts of the steering study: tidy tables with intervals and n; no torch."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.stats import clustered_bootstrap_mean, slopes


def _groups(table: pd.DataFrame, keys: list[str]) -> Iterable[tuple[dict[str, Any], pd.DataFrame]]:
    for values, group in table.groupby(keys, sort=False):
        named: Sequence[Hashable] = values if isinstance(values, tuple) else (values,)
        yield dict(zip(keys, named, strict=True)), group


def _measured(
    rows: pd.DataFrame, columns: dict[str, str], cluster: str, **interval: Any
) -> dict[str, float]:
    """Mean and interval of each column, under its new name, over the rows that have a value."""
    known = rows.dropna(subset=list(columns))
    mean, low, high = clustered_bootstrap_mean(
        known[list(columns)].to_numpy(dtype=float), known[cluster].to_numpy(), **interval
    )
    found: dict[str, float] = {}
    for number, name in enumerate(columns.values()):
        found |= {name: mean[number], f"{name}_low": low[number], f"{name}_high": high[number]}
    return found


def reasoning_table(chains: pd.DataFrame, **interval: Any) -> pd.DataFrame:
    """Mean score after a chain of thought, and its change from the unsteered run, by steered part.

    Args:
        chains: prompt_id, layer, layers, reasoning, steered, multiplier, sample, logit_diff.
        interval: seed, resamples, confidence; prompts are what is drawn.

    Returns:
        layer, layers, reasoning, steered, multiplier, n (chains), prompts, logit_diff and change
        with intervals. The change is from the mean of the prompt's unsteered chains, with or
        without reasoning alike.
    """
    unsteered = (
        chains[chains["steered"] == "none"].groupby(["prompt_id", "reasoning"])["logit_diff"].mean()
    )
    base = unsteered.loc[pd.MultiIndex.from_frame(chains[["prompt_id", "reasoning"]])].to_numpy()
    chains = chains.assign(change=chains["logit_diff"] - base)
    rows = []
    for row, group in _groups(chains, ["layer", "layers", "reasoning", "steered", "multiplier"]):
        counts = {"n": len(group), "prompts": group["prompt_id"].nunique()}
        columns = {"logit_diff": "logit_diff", "change": "change"}
        rows.append(row | counts | _measured(group, columns, "prompt_id", **interval))
    return pd.DataFrame(rows)


def system_prompts_table(scores: pd.DataFrame, **interval: Any) -> pd.DataFrame:
    """Mean score by system prompt × multiplier, its change, and the slope under a system prompt.

    Args:
        scores: prompt_id, system_prompt, layer, layers, multiplier, logit_diff, note; a system
            prompt that could not be had has one row without a score.

    Returns:
        system_prompt, layer, layers, multiplier, n, logit_diff, change (from the unsteered run
        without a system prompt) and slope (steerability under that system prompt) with intervals,
        note (why n is 0).
    """
    plain = scores[(scores["system_prompt"] == "none") & (scores["multiplier"] == 0)]
    base = plain.set_index("prompt_id")["logit_diff"]
    scores = scores.assign(change=scores["logit_diff"] - scores["prompt_id"].map(base))
    steered = {}
    for name, group in scores.dropna(subset=["logit_diff"]).groupby("system_prompt"):
        wide = group.pivot_table(index="prompt_id", columns="multiplier", values="logit_diff")
        steered[name] = pd.Series(
            slopes(wide.columns.to_numpy(dtype=float), wide.to_numpy()), index=wide.index
        )
    rows = []
    for row, group in _groups(scores, ["system_prompt", "layer", "layers", "multiplier"]):
        slope = steered.get(row["system_prompt"], pd.Series(dtype=float))
        group = group.assign(slope=group["prompt_id"].map(slope))
        columns = {"logit_diff": "logit_diff", "change": "change", "slope": "slope"}
        rows.append(
            row
            | {"n": int(group["logit_diff"].notna().sum())}
            | _measured(group, columns, "prompt_id", **interval)
            | {"note": group["note"].iloc[0]}
        )
    return pd.DataFrame(rows)


def cost_table(items: pd.DataFrame, **interval: Any) -> pd.DataFrame:
    """Perplexity of neutral text and accuracy on knowledge questions by multiplier.

    Args:
        items: contrast (text, or how the questions are asked), item, layer, layers, direction,
            multiplier, logprob, n_tokens (text) or logprob_wrong (questions).

    Returns:
        measure (perplexity or accuracy), contrast, layer, layers, direction, multiplier, n, value
        and change with intervals. Perplexity is exp of the mean negative log-probability a token,
        texts drawn with all their tokens; its change is the factor against the unsteered model.
        Accuracy is the share of questions whose correct answer is likelier; its change is the
        difference. The unsteered row stands once for all directions.
    """
    rows = []
    keys = ["contrast", "layer", "layers", "direction", "multiplier"]
    for row, group in _groups(items, keys):
        unsteered = items[(items["contrast"] == row["contrast"]) & (items["multiplier"] == 0)]
        base = unsteered.set_index("item").loc[group["item"]]
        if row["contrast"] == "text":
            measure, weights = "perplexity", group["n_tokens"].to_numpy(dtype=float)
            values = np.stack(
                [
                    -group["logprob"] / weights,
                    (base["logprob"].to_numpy() - group["logprob"]) / weights,
                ],
                axis=1,
            )
        else:
            measure, weights = "accuracy", np.ones(len(group))
            right, was_right = (
                (part["logprob"] > part["logprob_wrong"]).to_numpy(dtype=float)
                for part in (group, base)
            )
            values = np.stack([right, right - was_right], axis=1)
        found = clustered_bootstrap_mean(
            values, group["item"].to_numpy(), weights=weights, **interval
        )
        mean, low, high = map(np.exp, found) if measure == "perplexity" else found
        rows.append(
            {
                "measure": measure,
                **row,
                "n": len(group),
                **{"value": mean[0], "value_low": low[0], "value_high": high[0]},
                **{"change": mean[1], "change_low": low[1], "change_high": high[1]},
            }
        )
    return pd.DataFrame(rows)


def convergence_table(draws: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean cosine over the draws, and the range that the central share of them lies in.

    Args:
        draws: layer, what, against, items, draw, cosine.

    Returns:
        layer, what, against, items, draws, cosine, low, high.
    """
    tail = (1 - confidence) / 2
    cosine = draws.groupby(["what", "against", "items", "layer"], sort=False)["cosine"]
    table = cosine.agg(["size", "mean"])
    table["low"], table["high"] = cosine.quantile(tail), cosine.quantile(1 - tail)
    table = table.rename(columns={"size": "draws", "mean": "cosine"}).reset_index()
    columns = ["layer", "what", "against", "items", "draws", "cosine", "low", "high"]
    return table[columns]
