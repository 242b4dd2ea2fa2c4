"""Tidy tables of scores, and what is read off them: effects, slopes, the block to report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.errors import UserError
from steerpaper.stats import (
    Floats,
    benjamini_hochberg,
    bootstrap_mean,
    holm,
    permutation_p,
    slopes,
)
from steerpaper.steering.conditions import BEHAVIOR, UNSTEERED, Condition


def conditions(
    layers: Sequence[int | tuple[int, ...]],
    multipliers: Sequence[float],
    random: Mapping[str, Any],
) -> list[Condition]:
    """Every block × direction × multiplier but 0: the unsteered run is one, not one per block.

    Args:
        layers: blocks, or sets of blocks that are steered together.
    """
    wanted = {BEHAVIOR: multipliers}
    for number in range(random["directions"]):
        wanted[f"random-{number}"] = random["multipliers"]
    return [
        Condition((layer,) if isinstance(layer, int) else layer, direction, float(multiplier))
        for layer in layers
        for direction, chosen in wanted.items()
        for multiplier in sorted(chosen)
        if multiplier
    ]


def score_table(
    prompts: Sequence[Mapping[str, Any]],
    wanted: Sequence[Condition],
    unsteered: Floats,
    steered: Floats,
) -> pd.DataFrame:
    """One row per prompt and condition, the unsteered run first.

    `layer` is the block that is steered, or the first of a set; `layers` names all of a set.

    Args:
        unsteered: [prompt, 2] log-probability of the matching and the other continuation, nats.
        steered: [prompt, condition, 2] likewise.
    """
    letters = prompts[0]["contrast"] == "letters"
    logprob = np.concatenate([unsteered[:, None], steered], axis=1)
    layers = [UNSTEERED, *(condition.layers[0] for condition in wanted)]
    names = [BEHAVIOR, *(condition.direction for condition in wanted)]
    n, k = logprob.shape[:2]
    matching, other = (logprob[..., side].ravel() for side in (0, 1))
    difference = matching - other
    return pd.DataFrame(
        {
            "behavior": np.repeat([prompt["behavior"] for prompt in prompts], k),
            "prompt_id": np.repeat([prompt["id"] for prompt in prompts], k),
            "split": np.repeat([prompt["split"] for prompt in prompts], k),
            "matching": np.repeat([p["matching"] if letters else None for p in prompts], k),
            "layer": np.tile(layers, n),
            "multiplier": np.tile([0.0, *(condition.multiplier for condition in wanted)], n),
            "direction": np.tile(names, n),
            "logprob_matching": matching,
            "logprob_other": other,
            "logit_diff": difference,
            "p_matching": 1 / (1 + np.exp(-difference)),
            "ab_mass": np.exp(matching) + np.exp(other) if letters else np.nan,
            "layers": np.tile(["", *(condition.label for condition in wanted)], n),
        }
    )


def join_shards(shards: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The score table that one sweep of all blocks gives, from those of its block ranges in order.

    Every shard holds the unsteered run: the first one's is kept.
    """
    joined = pd.concat(shards, ignore_index=True)
    joined = joined[~joined.duplicated(["prompt_id", "layer", "direction", "multiplier"])]
    place = {prompt: number for number, prompt in enumerate(joined["prompt_id"].unique())}
    order = joined["prompt_id"].map(place).argsort(kind="stable")
    return joined.iloc[order].reset_index(drop=True)


def labelled(table: pd.DataFrame, **labels: str) -> pd.DataFrame:
    """The table with a column for every label before its own."""
    return pd.concat([pd.DataFrame(labels, index=table.index), table], axis=1)


def _wide(
    scores: pd.DataFrame, layer: int, direction: str
) -> tuple[Floats, Floats, "pd.Index[Any]"]:
    """Multipliers [condition], logit differences [item, condition] with the unsteered run as 0."""
    chosen = scores[
        (scores["layer"] == UNSTEERED)
        | ((scores["layer"] == layer) & (scores["direction"] == direction))
    ]
    wide = chosen.pivot(index="prompt_id", columns="multiplier", values="logit_diff")
    return wide.columns.to_numpy(dtype=float), wide.to_numpy(dtype=float), wide.index


def _steered(scores: pd.DataFrame) -> list[tuple[int, str]]:
    pairs = scores.loc[scores["layer"] != UNSTEERED, ["layer", "direction"]].drop_duplicates()
    return sorted((int(layer), str(direction)) for layer, direction in pairs.to_numpy())


def slope_table(
    scores: pd.DataFrame, *, seed: int, resamples: int, confidence: float
) -> pd.DataFrame:
    """Steerability per block and direction: mean slope and anti-steerable share with intervals.

    For letters also the mean slope of the items whose matching letter is A, and is B: their
    difference is the position bias of Tan et al. 2024 (arXiv 2407.12404), section 5.
    For the behaviour's direction also p-values of its slope against the random directions', both
    over the multipliers that all of them have: `p_items`, by permutation within items (it says
    that this direction acts otherwise than those few), and `p_directions`, the rank of its mean
    slope among all directions' (at least 1 / (1 + directions); it says so of directions at large);
    and `p_items` corrected over the table's blocks, by Holm and by Benjamini and Hochberg.
    """
    letter = scores.drop_duplicates("prompt_id").set_index("prompt_id")["matching"]
    names = _names(scores)
    rows = []
    for layer, direction in _steered(scores):
        multipliers, values, items = _wide(scores, layer, direction)
        slope = slopes(multipliers, values)
        # anti-steerable: the share of items that move against the multiplier
        mean, low, high = bootstrap_mean(
            np.stack([slope, slope < 0], axis=1),
            seed=seed,
            resamples=resamples,
            confidence=confidence,
        )
        letters = letter.loc[items].to_numpy()
        by_letter = {
            name: _interval(slope[letters == name], seed, resamples, confidence) for name in "AB"
        }
        p_items, p_directions = (
            _against_random(scores, layer, seed, resamples)
            if direction == BEHAVIOR
            else (np.nan, np.nan)
        )
        rows.append(
            {
                "layer": layer,
                "layers": names[layer],
                "direction": direction,
                "n": len(slope),
                "slope": mean[0],
                "low": low[0],
                "high": high[0],
                "anti_steerable": mean[1],
                "anti_low": low[1],
                "anti_high": high[1],
                **{
                    f"{column}_{name.lower()}": value
                    for name, found in by_letter.items()
                    for column, value in found.items()
                },
                "p_items": p_items,
                "p_directions": p_directions,
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(
        p_holm=holm(table["p_items"].to_numpy()),
        p_bh=benjamini_hochberg(table["p_items"].to_numpy()),
    )


def _against_random(
    scores: pd.DataFrame, layer: int, seed: int, resamples: int
) -> tuple[float, float]:
    """Two p-values of the behaviour's slope at a block against the random directions' there."""
    directions = [direction for block, direction in _steered(scores) if block == layer]
    wide = {direction: _wide(scores, layer, direction) for direction in directions}
    # a slope over a wider range is another quantity where the response is not a line
    common = sorted(set.intersection(*(set(multipliers) for multipliers, _, _ in wide.values())))
    found = {
        direction: slopes(np.array(common), values[:, np.isin(multipliers, common)])
        for direction, (multipliers, values, _) in wide.items()
        if len(common) > 1
    }
    controls = [slope for direction, slope in found.items() if direction != BEHAVIOR]
    if not controls:
        return np.nan, np.nan
    effect = found[BEHAVIOR]
    p_items = permutation_p(effect, np.stack(controls, axis=1), seed=seed, resamples=resamples)
    larger = sum(abs(control.mean()) >= abs(effect.mean()) for control in controls)
    return p_items, float((1 + larger) / (1 + len(controls)))


def item_slopes(scores: pd.DataFrame) -> pd.DataFrame:
    """Steerability of every item: layer, layers, direction, prompt_id, matching (letter), slope."""
    letter = scores.drop_duplicates("prompt_id").set_index("prompt_id")["matching"]
    names = _names(scores)
    tables = []
    for layer, direction in _steered(scores):
        multipliers, values, items = _wide(scores, layer, direction)
        tables.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "layers": names[layer],
                    "direction": direction,
                    "prompt_id": items,
                    "matching": letter.loc[items].to_numpy(),
                    "slope": slopes(multipliers, values),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def _names(scores: pd.DataFrame) -> "pd.Series[str]":
    """The set of blocks as text, by its first block."""
    return scores.drop_duplicates("layer").set_index("layer")["layers"]


def _interval(slope: Floats, seed: int, resamples: int, confidence: float) -> dict[str, float]:
    """Number, mean and interval of some items' slopes; without items, not-a-number."""
    mean = low = high = np.nan
    if len(slope):
        mean, low, high = map(
            float, bootstrap_mean(slope, seed=seed, resamples=resamples, confidence=confidence)
        )
    return {"n": len(slope), "slope": mean, "low": low, "high": high}


def change_table(
    scores: pd.DataFrame, *, seed: int, resamples: int, confidence: float
) -> pd.DataFrame:
    """Mean logit difference and its change from the unsteered run, per block × multiplier."""
    names = _names(scores)
    tables = []
    for layer, direction in _steered(scores):
        multipliers, values, _ = _wide(scores, layer, direction)
        change = values - values[:, multipliers == 0]
        mean, low, high = bootstrap_mean(
            np.stack([values, change], axis=1),
            seed=seed,
            resamples=resamples,
            confidence=confidence,
        )
        tables.append(
            pd.DataFrame(
                {
                    "layer": layer,
                    "layers": names[layer],
                    "direction": direction,
                    "multiplier": multipliers,
                    "n": len(values),
                    "logit_diff": mean[0],
                    "logit_diff_low": low[0],
                    "logit_diff_high": high[0],
                    "change": mean[1],
                    "change_low": low[1],
                    "change_high": high[1],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def best_block(scores: pd.DataFrame, layer: int | list[int] | str) -> dict[str, Any]:
    """The block to report: the configured one, or that of the highest mean slope on these items.

    `layer` may be a set of blocks, steered together. The result names all blocks as `layers` and
    the first as `layer`.

    Raises:
        UserError: the scores hold test items: the best block is never chosen on what it reports.
    """
    if set(scores["split"]) != {"dev"}:
        raise UserError("the best block must be chosen on dev items alone")
    if layer != "auto":
        layers = [layer] if isinstance(layer, int) else sorted(map(int, layer))
        return {"layer": layers[0], "layers": layers, "chosen": "by configuration"}
    found: list[tuple[float, int]] = []
    for block, direction in _steered(scores):
        if direction == BEHAVIOR:
            multipliers, values, _ = _wide(scores, block, direction)
            found.append((float(slopes(multipliers, values).mean()), block))
    slope, block = max(found, key=lambda entry: (entry[0], -entry[1]))
    n = scores["prompt_id"].nunique()
    return {"layer": block, "layers": [block], "chosen": "on dev", "slope": slope, "n": n}
