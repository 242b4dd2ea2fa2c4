"""Batches: one planner, out-of-memory halving, and prefixes that are run once for many rows."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from steerpaper.errors import UserError
from steerpaper.model import LanguageModel, forward, out_of_memory

log = logging.getLogger(__name__)

Ids = Sequence[int]
Result = TypeVar("Result")


def plan(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group items by length so that a batch's padded size stays within `budget` tokens.

    Every item is in exactly one batch; an item longer than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda item: (lengths[item], item)):
        # sorted, so the newest item is the longest of its batch
        if batches and (len(batches[-1]) + 1) * lengths[item] <= budget:
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches


def run_batches(
    lengths: Sequence[int], budget: int, run: Callable[[list[int]], Result]
) -> Iterator[tuple[list[int], Result]]:
    """Call `run` on every planned batch of items; on out-of-memory halve the batch and go on.

    Raises:
        UserError: a single item does not fit in memory.
    """
    todo = plan(lengths, budget)[::-1]
    while todo:
        batch = todo.pop()
        try:
            result = run(batch)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(batch) == 1:
                raise UserError(
                    f"out of memory with one sequence of {lengths[batch[0]]} tokens; "
                    "use a machine with more memory, a smaller model or shorter prompts"
                ) from error
            log.warning("out of memory with %d sequences: halved and retried", len(batch))
            torch.cuda.empty_cache()
            half = len(batch) // 2
            todo += [batch[half:], batch[:half]]
            continue
        yield batch, result


def padded(
    rows: Sequence[Ids], pad: int, *, side: str = "right", width: int | None = None
) -> tuple[Tensor, Tensor]:
    """Pad rows of token ids to `width`, or to the longest: ids and mask, both [row, token]."""
    width = width or max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        where = slice(0, len(tokens)) if side == "right" else slice(width - len(tokens), width)
        ids[row, where] = torch.tensor(tokens, dtype=ids.dtype)
        mask[row, where] = 1
    return ids, mask


def shared_length(rows: Sequence[Ids]) -> int:
    """Number of tokens that all rows begin with."""
    first, last = min(map(list, rows)), max(map(list, rows))
    for index, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            return index
    return min(len(first), len(last))


@dataclass(frozen=True)
class Prefix:
    """Keys and values of tokens already run, for a batch of rows.

    Attributes:
        cache: the model's cache; every forward pass is given a copy.
        mask: [row, token] 1 for tokens, 0 for padding.
    """

    cache: DynamicCache
    mask: Tensor

    def select(self, rows: Tensor, from_layer: int = 0) -> "Prefix":
        """Take rows, repeated as often as they are named; blocks below `from_layer` are left out.

        The copy can grow without changing this prefix: a cache layer that grows makes new tensors.
        """
        cache = DynamicCache()
        for layer, old in enumerate(self.cache.layers):
            new = DynamicLayer()
            new.lazy_initialization(old.keys, old.values)
            # layers that will not run keep their length only, which the model's mask reads
            take = layer >= from_layer
            new.keys = old.keys.index_select(0, rows) if take else old.keys
            new.values = old.values.index_select(0, rows) if take else old.values
            cache.layers.append(new)
        return Prefix(cache, self.mask.index_select(0, rows))

    def extend(self, mask: Tensor) -> Tensor:
        """The mask of this prefix followed by new tokens, [row, cached + token]."""
        return torch.cat([self.mask, mask], dim=1)


def empty_prefix(lm: LanguageModel, rows: int) -> Prefix:
    """A prefix of no tokens."""
    return Prefix(DynamicCache(), torch.zeros(rows, 0, dtype=torch.long, device=lm.device))


def run_root(lm: LanguageModel, rows: Sequence[Ids]) -> tuple[Prefix, int]:
    """Run what all rows begin with once: a prefix of one row, and its length in tokens.

    Where attention counts columns (a sliding window), padding between tokens would matter:
    there the root stays empty.
    """
    length = 0 if lm.contiguous else shared_length(rows)
    root = empty_prefix(lm, 1)
    if length:
        ids, mask = (part.to(lm.device) for part in padded([rows[0][:length]], lm.pad))
        forward(lm, ids, mask, root.cache)
        root = Prefix(root.cache, mask)
    return root, length


def run_prefix(lm: LanguageModel, root: tuple[Prefix, int], rows: Sequence[Ids]) -> Prefix:
    """Run the rows' tokens after the root's, left-padded so that what follows is adjacent."""
    start, length = root
    prefix = start.select(torch.zeros(len(rows), dtype=torch.long, device=lm.device))
    ids, mask = padded([row[length:] for row in rows], lm.pad, side="left")
    if not ids.shape[1]:
        return prefix
    mask = prefix.extend(mask.to(lm.device))
    forward(lm, ids.to(lm.device), mask, prefix.cache)
    return Prefix(prefix.cache, mask)
