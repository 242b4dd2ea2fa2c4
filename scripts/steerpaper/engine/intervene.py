"""Interventions: what steering does to the residual stream, the same wherever a model is steered.

An intervention is a function (hidden [row, token, d], direction [row, 1, d], strength
[row, token, 1]) -> hidden; where the strength is 0 it must leave the hidden state as it is.
Scoring, generation and reasoning all call them by name.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.condition import Condition
from steerpaper.engine.placing import moved

Intervention = Callable[[Tensor, Tensor, Tensor], Tensor]
# [L, d] by a direction's name
Vectors = Mapping[str, NDArray[np.floating]]


def add(hidden: Tensor, direction: Tensor, strength: Tensor) -> Tensor:
    """Add strength × direction (Panickssery et al. 2023, section 3)."""
    return hidden + strength * direction


INTERVENTIONS: Mapping[str, Intervention] = {"add": add}


def steer(name: str, direction: Tensor, strength: Tensor) -> Callable[[Tensor], Tensor]:
    """An intervention on a batch of rows, as an edit of the residual stream.

    Args:
        name: of `INTERVENTIONS`.
        direction: [row, 1, d], or [d] for all rows.
        strength: [row, token, 1]; it is brought to the direction's device and type.
    """
    intervene = INTERVENTIONS[name]
    strength = moved(strength.to(direction.dtype), direction.device)
    return lambda hidden: intervene(hidden, direction, strength)


def directions_at(vectors: Vectors, names: Sequence[str], layer: int, like: Tensor) -> Tensor:
    """One block's vectors of some directions: [name, d], with the device and type of `like`."""
    found = torch.as_tensor(np.stack([vectors[name][layer] for name in names]))
    return moved(found.to(like.dtype), like.device)


def strengths(conditions: Sequence[Condition], place: Tensor, prefilled: Sequence[int]) -> Tensor:
    """How hard every token of some rows is steered: [row, token, 1].

    Args:
        conditions: one a row.
        place: [row, token] where a token stands relative to the last prompt token: 0 is that
            token, 1 the first of the answer, negative numbers are before it.
        prefilled: per row, how many of the prompt's tokens stand behind the user's turn.
    """
    found = torch.zeros(place.shape)
    for row, (condition, behind) in enumerate(zip(conditions, prefilled, strict=True)):
        steered = {
            "all": place[row] == place[row],
            "last": place[row] == 0,
            "turn": place[row] >= -behind,
        }.get(condition.positions, place[row] >= 0)
        found[row] = steered * condition.multiplier
    return found[..., None]
