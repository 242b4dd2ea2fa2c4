"""What ends a job before its numbers mean nothing: sequences too long, numbers that ran over."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import torch

from steerpaper.engine.caches import Change, Site, no_cache
from steerpaper.engine.condition import Condition
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.intervene import Vectors, directions_at, steer, strengths
from steerpaper.engine.model import LanguageModel
from steerpaper.errors import UserError
from steerpaper.finite import WAY_OUT


def check_length(lm: LanguageModel, length: int, what: str, way_out: str) -> None:
    """Refuse a sequence that is longer than the model reads.

    Args:
        length: tokens.
        what: names the sequence, for the message.

    Raises:
        UserError: names the sequence, its tokens and the context.
    """
    if lm.context and length > lm.context:
        raise UserError(f"{what}: {length} tokens, but the model reads {lm.context}; {way_out}")


def named(condition: Condition | None) -> str:
    """What a message calls a run: how it is steered."""
    if condition is None:
        return "unsteered"
    return f"block {condition.label}, multiplier {condition.multiplier:g}"


def steered(
    lm: LanguageModel,
    vectors: Vectors,
    condition: Condition | None,
    length: int,
    last: int,
    prefilled: int,
) -> dict[Site, Change]:
    """The edits of one whole row under a condition.

    Args:
        length: tokens of the row.
        last: the column of the last prompt token.
        prefilled: how many of the prompt's tokens stand behind the user's turn.
    """
    if condition is None:
        return {}
    strength = strengths([condition], torch.arange(length)[None] - last, [prefilled])
    return {
        (layer, RESIDUAL): steer(
            condition.intervention,
            directions_at(vectors, [condition.direction], layer, lm.like(layer))[:, None],
            strength,
        )
        for layer in condition.layers
    }


def first_broken(lm: LanguageModel, ids: Sequence[int], edits: Mapping[Site, Change]) -> int | None:
    """The first block after which the residual stream of a row is not finite, or None."""
    lm = lm.for_length(len(ids))
    row = torch.tensor([list(ids)], device=lm.device)
    reads: dict[Site, Change] = {
        (layer, RESIDUAL): lambda hidden: hidden.isfinite().all() for layer in range(lm.n_layers)
    }
    whole, _ = forward(lm, row, torch.ones_like(row), no_cache(lm.how, 1), edits=edits, reads=reads)
    return next((layer for layer in range(lm.n_layers) if not whole[layer, RESIDUAL]), None)


def refuse_broken(
    lm: LanguageModel, ids: Sequence[int], edits: Mapping[Site, Change], what: str
) -> NoReturn:
    """End a job whose numbers are not finite, with the block where that begins.

    Args:
        ids: the row whose numbers are not, from its first token.
        edits: how it is steered.
        what: names what was done to which row, for the message.

    Raises:
        UserError: always.
    """
    layer = first_broken(lm, ids, edits)
    # where none is, the row's numbers are at the edge, and its company tips them over
    broken = "its numbers are" if layer is None else f"after block {layer} the residual stream is"
    raise UserError(f"{what}: {broken} not finite: {WAY_OUT}")
