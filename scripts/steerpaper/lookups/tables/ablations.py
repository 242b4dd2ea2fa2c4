"""What ablations do, and whether they do more where the unit is active."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from steerpaper.flags import few, joined
from steerpaper.lookups.heads import NEURON, PAIR
from steerpaper.lookups.tables.heads import KINDS
from steerpaper.stats import Interval, mean_interval

# a class of fewer neuron-head pairs (or neurons) is not tested
LEAST_UNITS = 5


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
    """What all ablations do: heads and neurons, next-token and random, in both measures.

    The statistic of the paper is one of probabilities: it stands in their rows only.

    Returns:
        ablated, neurons (kind), measure (probability or logprob), what `ablation_effects` gives,
        ks_pooled, what `ks_over_units` gives, and flags of the units that are compared.
    """
    rows: list[dict[str, Any]] = []
    for ablated, unit in (("head", PAIR), ("neuron", NEURON)):
        for kind in KINDS:
            here = drops[(drops["ablated"] == ablated) & (drops["kind"] == kind)]
            paper = ks_over_units(here.assign(drop=here["probability"]), unit)
            for measure in ("probability", "logprob"):
                of_measure = here.assign(drop=here[measure])
                rows.append(
                    {
                        "ablated": ablated,
                        "neurons": kind,
                        "measure": measure,
                        **ablation_effects(of_measure, unit, interval),
                        "ks_pooled": ks_pooled(of_measure),
                        **(paper if measure == "probability" else dict.fromkeys(paper, np.nan)),
                    }
                )
                rows[-1]["flags"] = joined(*few(int(rows[-1]["units"])))
    table = pd.DataFrame(rows)
    counts = [column for column in map(str, table) if column.startswith("ks_n")]
    return table.astype(dict.fromkeys(counts, "Int64"))


def ks_over_units(drops: pd.DataFrame, unit: Sequence[str]) -> dict[str, float]:
    """The paper's test: do the units' mean drops differ between active and inactive prompts?

    Two-sample Kolmogorov-Smirnov test of one mean drop a unit and class, over test prompts, as the
    authors' code has it (notebooks/8_head_ablation.ipynb, cells 10, 12 and 13, at commit f97f993):
    a unit that has no prompt of a class is missing from that class alone.

    Args:
        drops: the columns of `unit`, split, active, drop (of the token's probability).
        unit: the columns that name a unit: a neuron-head pair.

    Returns:
        ks_n (units with test prompts), ks_n_active, ks_n_inactive (those with active and with
        inactive ones), ks, ks_p; of a class of fewer than `LEAST_UNITS` units, no number.
    """
    test = drops[drops["split"] == "test"]
    known = np.isfinite(test["drop"].to_numpy(dtype=float)).all()
    means = test.groupby([*unit, "active"])["drop"].mean()
    classes = means.index.get_level_values("active").to_numpy(dtype=bool)
    samples = means[classes], means[~classes]
    enough = known and min(map(len, samples)) >= LEAST_UNITS
    found = ks_2samp(*samples) if enough else None
    return {
        "ks_n": len(test[[*unit]].drop_duplicates()),
        "ks_n_active": len(samples[0]),
        "ks_n_inactive": len(samples[1]),
        "ks": float(found.statistic) if found else np.nan,
        "ks_p": float(found.pvalue) if found else np.nan,
    }


def ks_pooled(drops: pd.DataFrame) -> float:
    """Kolmogorov-Smirnov distance of all drops on active prompts from all on inactive ones.

    Not the paper's statistic, and without a p-value: the prompts of a unit are not independent, so
    that p would be too small whatever is tested.

    Args:
        drops: active, drop.
    """
    active, values = drops["active"].astype(bool), drops["drop"]
    samples = values[active], values[~active]
    if not all(map(len, samples)) or not np.isfinite(values.to_numpy(dtype=float)).all():
        return np.nan
    return float(ks_2samp(*samples).statistic)


def ablation_effects(
    drops: pd.DataFrame, unit: Sequence[str], interval: Interval
) -> dict[str, float]:
    """Does taking a unit out cost the token more where the unit is active?

    Prompts of one unit are not independent, so the effect sizes are means within a unit, averaged
    over units, with intervals over units.

    Args:
        drops: the columns of `unit`, active, drop.
        unit: the columns that name a unit.

    Returns:
        n_active, n_inactive (prompts), units (with both classes), and mean, low and high of active,
        inactive and difference; NaN where there is nothing to compare.
    """
    active = drops["active"].astype(bool)
    found: dict[str, float] = {"n_active": int(active.sum()), "n_inactive": int((~active).sum())}
    known = np.isfinite(drops["drop"].to_numpy(dtype=float)).all()
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
