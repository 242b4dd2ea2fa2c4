"""The rows that score completions after a prompt's prefix, and batches of them as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.batching import Prefix, padded
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.placing import moved


@dataclass(frozen=True)
class Row:
    """Tokens that follow a prompt's prefix, and the completions that are scored on them.

    Completions that follow the same tokens (two letters) share one row.

    Attributes:
        prompt: its number.
        tokens: the prompt's tokens that are not in the prefix, and all but the last to score.
        last: the column of the last prompt token, whose logits predict the first to score.
        prefilled: how many of the prompt's tokens stand behind the user's turn.
        completions: the numbers of the completions.
    """

    prompt: int
    tokens: tuple[int, ...]
    last: int
    prefilled: int
    completions: list[int]


def rows_of(
    left: Sequence[Sequence[int]], prefilled: Sequence[int], completions: Sequence[tuple[int, Any]]
) -> list[Row]:
    """The rows that score completions; `left` has every prompt's tokens not in its prefix."""
    known: dict[tuple[int, tuple[int, ...]], Row] = {}
    for number, (prompt, ids) in enumerate(completions):
        tokens = (*left[prompt], *ids[:-1])
        new = Row(prompt, tokens, len(left[prompt]) - 1, prefilled[prompt], [])
        row = known.setdefault((prompt, tokens), new)
        row.completions.append(number)
    return list(known.values())


@dataclass(frozen=True)
class Batch:
    """Rows of one width as tensors.

    Attributes:
        before: what the rows follow.
        asked: how many rows have completions; those behind them fill up.
        ids, mask: [row, token].
        place: [row, token] where a token stands relative to the last prompt token.
        prefilled: [row] tokens of the prompt behind the user's turn.
        row: [score] the row of each completion.
        start: [score] column whose logits predict the first target.
        targets, target_mask: [score, token].
    """

    before: Prefix
    asked: int
    ids: Tensor
    mask: Tensor
    place: Tensor
    prefilled: list[int]
    row: Tensor
    start: Tensor
    targets: Tensor
    target_mask: Tensor

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        targets: Sequence[Sequence[int]],
        lm: LanguageModel,
        before: Prefix,
        width: int,
    ) -> "Batch":
        """Rows of tokens, padded on the right."""
        ids, mask = padded([row.tokens for row in rows], lm, width)
        numbers = [(k, number) for k, row in enumerate(rows) for number in row.completions]
        wanted, target_mask = padded([targets[number] for _, number in numbers], lm, width)
        last = torch.tensor([row.last for row in rows])
        row = torch.tensor([k for k, _ in numbers])
        return cls(
            before,
            sum(bool(row.completions) for row in rows),
            ids,
            mask,
            place=torch.arange(width)[None] - last[:, None],
            prefilled=[row.prefilled for row in rows],
            row=moved(row, lm.device),
            start=moved(last[row], lm.device),
            targets=wanted,
            target_mask=target_mask,
        )
