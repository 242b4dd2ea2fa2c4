"""Rows of token ids through the model, so that a row's result does not depend on its company.

A row is padded on the right to a width that follows from its own length alone, and runs only with
rows of that width. On one machine the same row then goes through the same sums in the same order
whatever the token budget, the shard or the other rows: tables come out identical to the last bit.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from steerpaper.batching import Ids, empty_prefix, padded, run_batches
from steerpaper.model import LanguageModel, Site, forward

Result = TypeVar("Result")
# what is done with a batch: (items, ids [row, token], mask [row, token]) -> result
Look = Callable[[list[int], Tensor, Tensor], Result]


def beginning(lm: LanguageModel, bos: bool) -> list[int]:
    """The token ids that every prompt begins with: beginning-of-sequence, if the model has one."""
    token = lm.tokenizer.bos_token_id
    return [token] if bos and token is not None else []


def width_of(length: int) -> int:
    """The width that a row of `length` tokens is padded to: at most 3 more, or an eighth."""
    step = 4
    while length > 16 * step:
        step *= 2
    return -(-length // step) * step


def run_rows(
    lm: LanguageModel, rows: Sequence[Ids], start: Ids, budget: int, look: Look[Result]
) -> Iterator[tuple[list[int], Result]]:
    """Call `look` on every batch of rows, each begun with `start`; yields items and results.

    Args:
        rows: token ids; every row has at least one.
        start: what all rows begin with (see `beginning`).
        budget: tokens, padding included, that a batch may hold.
    """
    groups = defaultdict(list)
    for item, row in enumerate(rows):
        # one column more is padding in every row: without any, attention takes another way
        groups[len(start) + width_of(len(row)) + 1].append(item)
    for width, items in sorted(groups.items()):

        def run(batch: list[int], width: int = width, items: list[int] = items) -> Result:
            chosen = [items[number] for number in batch]
            full = [[*start, *rows[item]] for item in chosen]
            ids, mask = (part.to(lm.device) for part in padded(full, lm.pad, width=width))
            return look(chosen, ids, mask)

        for batch, result in run_batches([width] * len(items), budget, run):
            yield [items[number] for number in batch], result


def read_inside(
    lm: LanguageModel, ids: Tensor, mask: Tensor, inside: dict[Site, Callable[[Tensor], Tensor]]
) -> dict[Site, Tensor]:
    """One forward pass of whole rows that keeps what `inside` asks for (see `model.forward`)."""
    got, _ = forward(lm, ids, mask, empty_prefix(lm, len(ids)).cache, inside=inside)
    return {site: value for site, value in got.items() if isinstance(site, tuple)}


def last_tokens(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Index pair (row, token) of every row's last token that is not padding."""
    return torch.arange(len(mask), device=mask.device), mask.sum(dim=1) - 1
