"""Which heads drive neurons, and how well explanations of them hold."""

import numpy as np
import pandas as pd

from steerpaper.flags import few, joined
from steerpaper.lookups.heads import NEURON, PAIR
from steerpaper.stats import Interval, mean_interval

KINDS = ("next_token", "random")


def attribution_map(attribution: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """Attribution of every head, averaged over the prompts of a kind's neurons, and of some alone.

    Shown alone are the first next-token neuron of every block.

    Returns:
        neurons (a kind, or "block.neuron (token)"), head_layer, head, n (prompts), attribution
        (mean), active (share of prompts).
    """
    table = attribution.merge(
        neurons[[*NEURON, "kind", "rank", "token"]], on=NEURON, validate="m:1"
    )
    groups = [(f"all {kind}", table[table["kind"] == kind]) for kind in KINDS]
    first = table[(table["kind"] == "next_token") & (table["rank"] == 1)]
    for (layer, neuron, token), rows in first.groupby([*NEURON, "token"], sort=True):
        groups.append((f"{layer}.{neuron} ({token!r})", rows))
    parts = []
    for name, rows in groups:
        means = rows.groupby(["head_layer", "head"]).agg(
            n=("attribution", "size"),
            attribution=("attribution", "mean"),
            active=("active", "mean"),
        )
        parts.append(means.reset_index().assign(neurons=name))
    columns = ["neurons", "head_layer", "head", "n", "attribution", "active"]
    return pd.concat(parts, ignore_index=True)[columns]


def scores_by_kind(scores: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """The head explanation scores with the kind and token of each head's neuron."""
    return scores.merge(neurons[[*NEURON, "kind", "token"]], on=NEURON, validate="m:1").sort_values(
        ["kind", *PAIR], ignore_index=True
    )


def explanation_summary(scores: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Mean head explanation score of each kind of neurons, and what was left out and why.

    A classifier that does not look at the text scores 0.5. Heads of one neuron share its prompts,
    so the interval is over neurons: of the mean of their heads' mean scores.

    Returns:
        neurons, heads, scored, one column a reason for being left out, judgements, unanswered,
        mean, sd (over heads), neurons_scored, neuron_mean, low, high, flags.
    """
    reasons = sorted(set(scores["left_out"]) - {""})
    rows = []
    for kind in KINDS:
        here = scores[scores["kind"] == kind]
        scored = here.dropna(subset="score")
        of_neurons = scored.groupby(NEURON)["score"].mean().to_numpy()
        mean, low, high = _interval(of_neurons, interval)
        rows.append(
            {
                "neurons": kind,
                "heads": len(here),
                "scored": len(scored),
                **{f"left out: {why}": int((here["left_out"] == why).sum()) for why in reasons},
                "judgements": int(here[["n_active", "n_inactive", "unanswered"]].sum().sum()),
                "unanswered": int(here["unanswered"].sum()),
                "mean": scored["score"].mean(),
                "sd": scored["score"].std(),
                "neurons_scored": len(of_neurons),
                "neuron_mean": mean,
                "low": low,
                "high": high,
                "flags": joined(*few(len(of_neurons))),
            }
        )
    return pd.DataFrame(rows)


def _interval(values: np.ndarray, interval: Interval) -> tuple[float, float, float]:
    if not len(values):
        return np.nan, np.nan, np.nan
    found = mean_interval(values, interval)
    return tuple(map(float, found))  # type: ignore[return-value]
