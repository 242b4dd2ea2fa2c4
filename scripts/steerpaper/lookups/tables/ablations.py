"""What ablations do, and whether they do more where the unit is active."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from steerpaper.lookups.heads import NEURON, PAIR
from steerpaper.lookups.tables.heads import KINDS
from steerpaper.stats import Interval, mean_interval


def ablation_drops(heads: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """Every ablation's drop, in the token's probability and in its log-probability.

    Returns:
        ablated (head or neuron), kind, layer, neuron, head_layer, head (empty for neurons), split,
        prompt_id, active, probability (drop), logprob (drop, nats).
    """
    parts = []
    for name, table in (("head", heads), ("neuron", neurons)):
        drops = table.rename(columns={"drop": "probability"}).assign(ablated=name)
        drops["logprob"] = table["logprob"] - table["ablated_logprob"]
        parts.append(
            drops.reindex(
                columns=[
                    "ablated",
                    "kind",
                    *PAIR,
                    "split",
                    "prompt_id",
                    "active",
                    "probability",
                    "logprob",
                ]
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table.astype({"head_layer": "Int64", "head": "Int64", "active": bool})


def ablation_summary(drops: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """The tests of all ablations: heads and neurons, next-token and random, in both measures.

    Returns:
        ablated, neurons (kind), measure (probability or logprob), and what `ablation_test` gives.
    """
    rows = []
    for ablated, unit in (("head", PAIR), ("neuron", NEURON)):
        for kind in KINDS:
            here = drops[(drops["ablated"] == ablated) & (drops["kind"] == kind)]
            for measure in ("probability", "logprob"):
                test = ablation_test(here.assign(drop=here[measure]), unit, interval)
                rows.append({"ablated": ablated, "neurons": kind, "measure": measure, **test})
    return pd.DataFrame(rows)


def ablation_test(drops: pd.DataFrame, unit: Sequence[str], interval: Interval) -> dict[str, float]:
    """Does taking a unit out cost the token more where the unit is active?

    The two-sample Kolmogorov-Smirnov test of the paper compares all drops on active prompts with
    all on inactive ones. Prompts of one unit are not independent, so the effect sizes are means
    within a unit, averaged over units, with bootstrap intervals over units.

    Args:
        drops: the columns of `unit`, active, drop (of the token's probability).
        unit: the columns that name a unit.

    Returns:
        n_active, n_inactive, ks_statistic, ks_p, units (with both classes), and mean, low and high
        of active, inactive and difference; NaN where there is nothing to compare.
    """
    active = drops["active"].astype(bool)
    samples = drops["drop"][active], drops["drop"][~active]
    found: dict[str, float] = {"n_active": len(samples[0]), "n_inactive": len(samples[1])}
    known = np.isfinite(drops["drop"].to_numpy(dtype=float)).all()
    test = ks_2samp(*samples) if known and all(map(len, samples)) else None
    found["ks_statistic"] = float(test.statistic) if test else np.nan
    found["ks_p"] = float(test.pvalue) if test else np.nan
    means = drops.pivot_table(index=list(unit), columns="active", values="drop").dropna()
    found["units"] = len(means) if known and means.shape[1] == 2 else 0
    names = ("active", "inactive", "difference")
    if not found["units"]:
        return found | {
            f"{name}_{part}": np.nan for name in names for part in ("mean", "low", "high")
        }
    values = np.column_stack([means[True], means[False], means[True] - means[False]])
    intervals = mean_interval(values, interval)
    for part, numbers in zip(("mean", "low", "high"), intervals, strict=True):
        found |= {
            f"{name}_{part}": float(number) for name, number in zip(names, numbers, strict=True)
        }
    return found
