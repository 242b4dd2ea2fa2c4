"""Vectors trained under prompts of one kind and used under another, summed up."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.flags import few, joined
from steerpaper.stats import Interval, mean_interval, share_interval
from steerpaper.steering.conditions import UNSTEERED
from steerpaper.steering.correlation import pearson, spearman
from steerpaper.steering.kinds import BASE, KINDS
from steerpaper.steering.slopes import anti_steerable, slopes, wide
from steerpaper.steering.tables.controls import band_to_first_order
from steerpaper.steering.tables.flags import effect_flags
from steerpaper.steering.tables.rows import labelled, of_measures

CORRELATIONS = {"spearman": spearman, "pearson": pearson}


def prompt_kinds_tables(
    scores: Mapping[str, pd.DataFrame],
    block: Mapping[Hashable, Mapping[str, Any]],
    *,
    interval: Interval,
    measures: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """Slopes of every kind's vector under every kind of prompt, and their correlations.

    Args:
        scores: by behaviour: prompt_id, matching, used (the kind of prompt), direction (the kind
            that the vector is trained under), layer, layers, multiplier, norm, control_sd, note and
            the log-probabilities; a kind that could not be had has one row without a score.
        block: of `choose.best_block`, by behaviour and contrast.

    Returns:
        prompt_kinds: behavior, trained, used, layer, layers, n, slope, low, high, anti_steerable,
        anti_low, anti_high, control_low and control_high (see `controls.band_to_first_order`), note
        (why n is 0), flags. prompt_kinds_correlation: see `correlations`.
    """
    blocks = {name[0] if isinstance(name, tuple) else name: one for name, one in block.items()}

    def of_behavior(name: str) -> pd.DataFrame:
        chosen = blocks[name]
        own = of_measures(
            scores[name],
            measures,
            lambda part, measure: _slopes(part, measure, chosen, interval),
        )
        return labelled(own, behavior=name)

    table = pd.concat(map(of_behavior, scores), ignore_index=True)
    found = [
        correlations(of_measure, interval).assign(measure=name)
        for name, of_measure in table.groupby("measure", sort=False)
    ]
    return {
        "prompt_kinds": table,
        "prompt_kinds_correlation": pd.concat(found, ignore_index=True),
    }


def _slopes(
    scores: pd.DataFrame, measure: str, block: Mapping[str, Any], interval: Interval
) -> pd.DataFrame:
    """One behaviour's rows, those of kinds that could not be had among them."""
    there = {*scores["used"]}
    kinds = [kind for kind in (BASE, *KINDS) if kind in there]
    notes = scores.dropna(subset=["note"]).set_index("used")["note"].to_dict()
    steered = scores.loc[scores["direction"] != UNSTEERED, ["layer", "layers"]].iloc[0]
    rows = []
    for trained, used in product(kinds, kinds):
        row = {"trained": trained, "used": used, **steered.to_dict()}
        if note := notes.get(used) or notes.get(trained):
            rows.append(row | {"n": 0, "note": note, "flags": ""})
            continue
        here = scores[scores["used"] == used]
        multipliers, values, _ = wide(here, steered["layer"], trained)
        slope = slopes(multipliers, values)
        mean, low, high = map(float, mean_interval(slope, interval))
        share, anti_low, anti_high = map(float, share_interval(anti_steerable(slope), interval))
        own = here[here["direction"] == trained]
        control_low, control_high = band_to_first_order(own, measure, interval)
        rows.append(
            row
            | {"n": len(slope), "slope": mean, "low": low, "high": high}
            | {"anti_steerable": share, "anti_low": anti_low, "anti_high": anti_high}
            | {"control_low": control_low, "control_high": control_high}
            | {"flags": effect_flags(here[here["direction"] == UNSTEERED], own, block)}
        )
    order = ["trained", "used", "layer", "layers", "n", "slope", "low", "high", "anti_steerable"]
    order += ["anti_low", "anti_high", "control_low", "control_high", "note", "flags"]
    return pd.DataFrame(rows).reindex(columns=order)


def correlations(table: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """In/out-of-distribution correlation of mean slopes over behaviours.

    Of every pair of kinds, as Tan et al. 2024 have it of some (dtch1997/repepo at 68f650a,
    repepo/paper/helpers.py, lines 22 to 131, and make_figures_steering_ood.py, lines 43 to 56): the
    mean over items of the least-squares slopes (preprocess_results.py, lines 45 to 52, multipliers
    -1.5 to 1.5 with 0 among them) of the vector trained under the study's own prompts and used
    under these, against that of the pair's vector under the pair's prompts. There it is Spearman's.

    Args:
        table: behavior, trained, used, slope; one measure's rows.

    Returns:
        trained, used, n (behaviours that have both slopes), spearman and pearson with their
        intervals, flags.
    """
    cells: Any = table.pivot(index=["trained", "used"], columns="behavior", values="slope")
    inside = cells.loc[(BASE, BASE)].to_numpy(dtype=float)
    rows = []
    for trained, used in table[["trained", "used"]].drop_duplicates().itertuples(index=False):
        if trained == used == BASE:
            continue
        outside = cells.loc[(trained, used)].to_numpy(dtype=float)
        n = int((np.isfinite(inside) & np.isfinite(outside)).sum())
        row: dict[str, Any] = {"trained": trained, "used": used, "n": n}
        for name, correlate in CORRELATIONS.items():
            value, low, high = correlate(inside, outside, interval)
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        # an interval of a correlation is Student's t nowhere
        flags = [flag for flag in few(n) if flag == "no interval"]
        rows.append(row | {"flags": joined(*flags)})
    return pd.DataFrame(rows)
