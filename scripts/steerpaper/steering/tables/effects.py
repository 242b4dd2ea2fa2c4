"""Steering's effect: slopes and changes by block, direction and multiplier."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.stats import (
    Interval,
    benjamini_hochberg,
    holm,
    mean_interval,
    share_interval,
)
from steerpaper.steering.chance import p_of_labels
from steerpaper.steering.conditions import (
    AT_RESIDUAL_NORM,
    BEHAVIOR,
    KINDS,
    UNSTEERED,
    kind_of,
)
from steerpaper.steering.slopes import (
    anti_steerable,
    slopes,
    standardized_slopes,
    steered,
    wide,
)
from steerpaper.steering.tables.controls import band_of, compared, controls_table
from steerpaper.steering.tables.first_order import first_order_table
from steerpaper.steering.tables.flags import effect_flags
from steerpaper.steering.tables.rows import of_measures
from steerpaper.workflow.files import Arrays

# what the choice of the block tells, beside the block
CHOICE = ("chosen", "stability", "p_dev", "stands_out", "norm_share")
ITEM = ["layer", "layers", "direction", "prompt_id", "matching", "slope"]
# of slopes, and of means of a measure
SLOPE = ["layer", "layers", "direction", "n", "slope", "low", "high", "standardized"]
SLOPE += ["anti_steerable", "anti_low", "anti_high"]
PLACE = ["layer", "layers", "direction", "multiplier", "n"]


def effect_tables(
    scores: pd.DataFrame,
    block: Mapping[str, Any],
    gradients: Arrays,
    activations: Arrays,
    vectors: Arrays,
    *,
    interval: Interval,
    measures: Sequence[str],
) -> dict[str, pd.DataFrame]:
    """All tables of one behaviour's and contrast's scores.

    Args:
        scores: dev and test (see `conditions.score_rows`); where there are no dev items, the tables
            of these have no rows.
        block: of `choose.best_block`.
        gradients: dev and test, [item, L, d], in the order of the scores.
        activations: matching and other, [train item, L, d].
        vectors: the directions that steer, [L, d].
    """
    differences = activations["matching"] - activations["other"]
    p_labels = p_of_labels(
        gradients["test"],
        differences,
        vectors[BEHAVIOR],
        block["layers"],
        draws=interval.resamples,
        seed=interval.seed,
        what=["test"],
    )
    dev, test = (scores[scores["split"] == split] for split in ("dev", "test"))

    flags = {name: _flags(part, block) for name, part in (("dev", dev), ("test", test))}

    def swept(part: pd.DataFrame, name: str) -> pd.DataFrame:
        table = slope_table(part, interval)
        table = table.assign(chosen=table["layer"].isin(block["layers"]))
        return table.assign(flags=flags["dev"])

    def summary(part: pd.DataFrame, name: str) -> pd.DataFrame:
        # gradients are of the logit difference
        of_labels = p_labels if name == "logit_diff" else None
        table = steerability_table(part, interval, of_labels)
        table = table.assign(**{key: block.get(key) for key in CHOICE})
        return table.assign(flags=flags["test"])

    return {
        "layer_sweep": of_measures(dev, measures, swept),
        "heatmap": of_measures(
            dev,
            measures,
            lambda part, name: change_table(part, name, interval).assign(flags=flags["dev"]),
        ),
        "dose_response": of_measures(
            test,
            measures,
            lambda part, name: dose_table(part, name, interval).assign(flags=flags["test"]),
        ),
        "steerability": of_measures(test, measures, summary),
        "steerability_sides": of_measures(
            test, measures, lambda part, _: sides_table(item_slopes(part), interval)
        ),
        "steerability_items": of_measures(test, measures, lambda part, _: item_slopes(part)),
        "controls": of_measures(test, measures, lambda part, _: controls_table(part, interval)),
        "first_order": first_order_table(
            scores, gradients, differences, vectors[BEHAVIOR], block, interval=interval
        ).assign(measure="logit_diff"),
    }


def _flags(scores: pd.DataFrame, block: Mapping[str, Any]) -> str:
    """What is doubtful about all numbers of these items."""
    steered_rows = scores[scores["direction"] == BEHAVIOR]
    return effect_flags(scores[scores["direction"] == UNSTEERED], steered_rows, block)


def corrected(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of all behaviours and contrasts, p corrected over them, by measure.

    Where one behaviour and contrast is studied there is nothing to correct, and both corrected p
    are p itself.
    """
    table = tables["steerability"]
    for name, correct in (("p_holm", holm), ("p_bh", benjamini_hochberg)):
        table[name] = table.groupby("measure", sort=False)["p"].transform(
            lambda p, correct=correct: correct(p.to_numpy())
        )
    # which measure a row is of stands last in every table
    order = [*table.columns.drop("measure"), "measure"]
    return {**tables, "steerability": table[order]}


def slope_table(scores: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Steerability of the behaviour's direction, per block: mean slope and anti-steerable share.

    Args:
        scores: prompt_id, layer, layers, direction, multiplier, value.

    Returns:
        layer, layers, direction, n, slope, low, high, standardized (the mean in units of its
        standard error over items, by which the block is chosen), anti_steerable, anti_low,
        anti_high (Wilson).
    """
    names = _names(scores)
    rows = []
    for layer, direction in steered(scores):
        if direction != BEHAVIOR:
            continue
        multipliers, values, _ = wide(scores, layer, direction)
        slope = slopes(multipliers, values)
        mean, low, high = map(float, mean_interval(slope, interval))
        share, anti_low, anti_high = map(float, share_interval(anti_steerable(slope), interval))
        rows.append(
            {
                "layer": layer,
                "layers": names[layer],
                "direction": direction,
                "n": len(slope),
                **{"slope": mean, "low": low, "high": high},
                "standardized": standardized_slopes(slope[:, None])[0],
                **{"anti_steerable": share, "anti_low": anti_low, "anti_high": anti_high},
            }
        )
    return pd.DataFrame(rows, columns=SLOPE)


def steerability_table(
    scores: pd.DataFrame, interval: Interval, p_labels: float | None = None
) -> pd.DataFrame:
    """The summary on test: the slope, what it is beside the controls', and at equal strength.

    `p_random` is by Student's t against random directions that were measured, `p_shuffled` the rank
    among many vectors of labels dealt anew, and `p` the larger of both: the vector has to stand out
    from both. `p_rank` is the larger rank among the controls that were measured.
    `slope_residual` is the slope of the same direction per norm of the residual stream.

    Args:
        scores: of the test items, as `slope_table` takes them.
        p_labels: of `chance.p_of_labels`, where it is known.
    """
    table = slope_table(scores, interval)
    rows = []
    for row in table.to_dict("records"):
        found = {
            kind: compared(scores, row["layer"], kind, interval)
            for kind in KINDS
            if any(kind_of(name) == kind for _, name in steered(scores))
        }
        row["p_random"] = found["random"]["p"] if "random" in found else np.nan
        row["p_shuffled"] = np.nan if p_labels is None else p_labels
        there = [row["p_random"]] * ("random" in found) + [p_labels] * (p_labels is not None)
        row["p"] = float(np.max(there)) if there else np.nan
        ranks = [one["p_rank"] for one in found.values()]
        row["p_rank"] = float(np.max(ranks)) if ranks else np.nan
        for kind in KINDS:
            row[f"anti_{kind}"] = found[kind]["anti_steerable"] if kind in found else np.nan
        strong = mean_interval(_at_residual_norm(scores, row["layer"]), interval)
        for ending, value in zip(("", "_low", "_high"), strong, strict=True):
            row[f"slope_residual{ending}"] = float(value)
        rows.append(row)
    return pd.DataFrame(rows)


def _at_residual_norm(scores: pd.DataFrame, layer: int) -> Any:
    if (layer, AT_RESIDUAL_NORM) not in steered(scores):
        return np.zeros(0)
    multipliers, values, _ = wide(scores, layer, AT_RESIDUAL_NORM)
    return slopes(multipliers, values)


def sides_table(items: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Mean slope of the items whose matching answer is A, and is B; or is Yes, and is No.

    Their difference is the position bias of Tan et al. 2024 (arXiv 2407.12404), section 5. Of
    answers that are texts there are none.

    Args:
        items: of `item_slopes`.
    """
    columns = ["layer", "layers", "direction", "side", "n", "slope", "low", "high"]
    own = items[items["direction"] == BEHAVIOR].dropna(subset=["matching"])
    rows = []
    for (layer, layers, side), part in own.groupby(["layer", "layers", "matching"]):
        found = mean_interval(part["slope"].to_numpy(dtype=float), interval)
        mean, low, high = map(float, found)
        rows.append([layer, layers, BEHAVIOR, side, len(part), mean, low, high])
    return pd.DataFrame(rows, columns=columns)


def item_slopes(scores: pd.DataFrame) -> pd.DataFrame:
    """Steerability of every item: layer, layers, direction, prompt_id, matching (letter), slope."""
    letter = scores.drop_duplicates("prompt_id").set_index("prompt_id")["matching"]
    names = _names(scores)
    tables = []
    for layer, direction in steered(scores):
        multipliers, values, items = wide(scores, layer, direction)
        columns = {
            "layer": layer,
            "layers": names[layer],
            "direction": direction,
            "prompt_id": items,
            "matching": letter.loc[items].to_numpy(),
            "slope": slopes(multipliers, values),
        }
        tables.append(pd.DataFrame(columns)[ITEM])
    return pd.concat(tables, ignore_index=True)


def change_table(scores: pd.DataFrame, measure: str, interval: Interval) -> pd.DataFrame:
    """Mean of a measure and its change from the unsteered run, per block × multiplier.

    The mean's columns have the measure's name. Controls are left out.
    """
    names = _names(scores)
    tables = []
    for layer, direction in steered(scores):
        if kind_of(direction):
            continue
        multipliers, values, _ = wide(scores, layer, direction)
        change = values - values[:, multipliers == 0]
        mean, low, high = mean_interval(np.stack([values, change], axis=1), interval)
        columns = {
            "layer": layer,
            "layers": names[layer],
            "direction": direction,
            "multiplier": multipliers,
            "n": len(values),
            **{measure: mean[0], f"{measure}_low": low[0], f"{measure}_high": high[0]},
            **{"change": mean[1], "change_low": low[1], "change_high": high[1]},
        }
        tables.append(pd.DataFrame(columns))
    if not tables:
        means = [f"{name}{end}" for name in (measure, "change") for end in ("", "_low", "_high")]
        return pd.DataFrame(columns=[*PLACE, *means])
    return pd.concat(tables, ignore_index=True)


def dose_table(scores: pd.DataFrame, measure: str, interval: Interval) -> pd.DataFrame:
    """`change_table`, and a row for each kind of control and multiplier.

    A control's row has the mean over the directions, and in place of an interval their band (see
    `controls.band_of`).
    """
    names = _names(scores)
    rows = []
    kinds = {(layer, kind_of(direction)) for layer, direction in steered(scores)}
    for layer, kind in sorted((layer, kind) for layer, kind in kinds if kind):
        moved = _mean_changes(scores, layer, kind)
        for multiplier, changes in moved.items():
            low, high = band_of(kind, changes, interval)
            row = {"layer": layer, "layers": names[layer], "direction": kind}
            row |= {"multiplier": multiplier, "n": scores["prompt_id"].nunique()}
            row |= {"directions": len(changes), "change": changes.mean()}
            rows.append(row | {"change_low": low, "change_high": high})
    table = change_table(scores, measure, interval)
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table


def _mean_changes(scores: pd.DataFrame, layer: int, kind: str) -> dict[float, Any]:
    """Mean change over the items by multiplier: [direction] of each."""
    found: dict[float, list[float]] = {}
    for block, direction in steered(scores):
        if block == layer and kind_of(direction) == kind:
            multipliers, values, _ = wide(scores, layer, direction)
            change = (values - values[:, multipliers == 0]).mean(axis=0)
            for multiplier, mean in zip(multipliers, change, strict=True):
                if multiplier:
                    found.setdefault(float(multiplier), []).append(float(mean))
    return {multiplier: np.array(found[multiplier]) for multiplier in sorted(found)}


def _names(scores: pd.DataFrame) -> "pd.Series[str]":
    """The set of blocks as text, by its first block."""
    blocks = scores[scores["direction"] != UNSTEERED]
    return blocks.drop_duplicates("layer").set_index("layer")["layers"]
