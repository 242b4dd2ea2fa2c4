"""The words of conditions, the conditions of a study, and tables with a row for each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.engine.condition import Condition
from steerpaper.engine.layers import resolve_layers

NO_LAYER = -1  # the layer of the unsteered run, in tables
UNSTEERED = "unsteered"  # its direction
BEHAVIOR = "behavior"  # the direction of the behaviour's own vector
# the same direction with the norm of the residual stream, to compare contrasts at equal strength
AT_RESIDUAL_NORM = "behavior at residual norm"
KINDS = ("random", "shuffled")  # of controls; a direction's name is its kind and its number
# what stands for no system prompt: none, or the chat template's own
WITHOUT = ("none", "default")


def kind_of(direction: str) -> str:
    """The kind of control that a direction is of; empty if it is none."""
    kind = direction.rpartition("-")[0]
    return kind if kind in KINDS else ""


def conditions(
    layers: Sequence[int | tuple[int, ...]],
    multipliers: Sequence[float],
    controls: Mapping[str, Mapping[str, Any]],
    positions: str = "response",
) -> list[Condition]:
    """Every block × direction × multiplier but 0: the unsteered run is one, not one per block.

    Args:
        layers: blocks, or sets of blocks that are steered together.
        controls: by kind: `directions`, their number, and their `multipliers`.
    """
    wanted = {BEHAVIOR: multipliers}
    for kind, how in controls.items():
        for number in range(how["directions"]):
            wanted[f"{kind}-{number}"] = how["multipliers"]
    return [
        condition
        for layer in layers
        for direction, chosen in wanted.items()
        for condition in doses(layer, direction, chosen, positions)
    ]


def doses(
    layers: int | tuple[int, ...], direction: str, multipliers: Sequence[float], positions: str
) -> list[Condition]:
    """A direction at a block, or a set of blocks, under every multiplier but 0, sorted."""
    places = (layers,) if isinstance(layers, int) else layers
    return [
        Condition(places, direction, float(multiplier), positions=positions)
        for multiplier in sorted(multipliers)
        if multiplier
    ]


def condition_rows(
    items: Mapping[str, Sequence[Any] | NDArray[Any]],
    wanted: Sequence[Condition],
    values: Mapping[str, NDArray[Any]],
) -> pd.DataFrame:
    """One row per item and condition, the unsteered run first.

    `layer` is the block that is steered, or the first of a set; `layers` names all of a set.

    Args:
        items: columns of the items, [item] each.
        values: columns of the runs, [item, 1 + condition] each.
    """
    n, k = next(iter(values.values())).shape
    columns: dict[str, Any] = {name: np.repeat(column, k) for name, column in items.items()}
    return pd.DataFrame(
        columns
        | {
            "direction": np.tile([UNSTEERED, *(c.direction for c in wanted)], n),
            "layer": np.tile([NO_LAYER, *(c.layers[0] for c in wanted)], n),
            "layers": np.tile(["", *(c.label for c in wanted)], n),
            "multiplier": np.tile([0.0, *(c.multiplier for c in wanted)], n),
        }
        | {name: column.ravel() for name, column in values.items()}
    )


def score_rows(
    prompts: Sequence[Mapping[str, Any]],
    wanted: Sequence[Condition],
    unsteered: NDArray[np.float64],
    steered: NDArray[np.float64],
) -> pd.DataFrame:
    """One row per prompt and condition, the unsteered run first, with all that measures read.

    Args:
        prompts: rows of a prompt file.
        unsteered: [prompt, 2] log-probability of the matching and the other continuation, nats.
        steered: [prompt, condition, 2] likewise.

    Returns:
        behavior, prompt_id, split, matching (the matching answer's letter, or Yes or No where a
        file's answers are these; else None), layer, multiplier,
        direction, logprob_matching, logprob_other, logit_diff (nats), p_matching and ab_mass
        (shares), layers, contrast, and the continuations' tokens n_matching, n_other.
    """
    letters = prompts[0]["contrast"] == "letters"
    both = np.concatenate([unsteered[:, None], steered], axis=1)
    matching, other = both[..., 0], both[..., 1]
    difference = matching - other
    table = condition_rows(
        {
            **{key: [p[key] for p in prompts] for key in ("behavior", "split", "contrast")},
            "prompt_id": [prompt["id"] for prompt in prompts],
            "matching": [prompt["side"] for prompt in prompts],
            "n_matching": [len(prompt["matching_ids"]) for prompt in prompts],
            "n_other": [len(prompt["other_ids"]) for prompt in prompts],
        },
        wanted,
        {
            "logprob_matching": matching,
            "logprob_other": other,
            "logit_diff": difference,
            "p_matching": 1 / (1 + np.exp(-difference)),
            "ab_mass": np.exp(matching) + np.exp(other)
            if letters
            else np.full(matching.shape, np.nan),
        },
    )
    order = ["behavior", "prompt_id", "split", "matching", "layer", "multiplier", "direction"]
    order += ["logprob_matching", "logprob_other", "logit_diff", "p_matching", "ab_mass", "layers"]
    return table[[*order, "contrast", "n_matching", "n_other"]]


def not_run(behavior: str) -> pd.DataFrame:
    """The one row that stands for test prompts that could not be had: no prompt, no score."""
    row = {"behavior": behavior, "split": "test", "direction": UNSTEERED, "layer": NO_LAYER}
    return pd.DataFrame([{**row, "multiplier": 0.0, "layers": ""}])


def chosen_layers(block: Mapping[str, Any], n_layers: int) -> tuple[int, ...]:
    """The blocks that the rule best_block chose, of a model of so many blocks.

    Raises:
        UserError: a configured block that the model does not have.
    """
    return tuple(resolve_layers(block["layers"], n_layers, "steering.layer"))
