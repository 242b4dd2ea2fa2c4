"""Batches: one planner, out-of-memory halving, and prefixes that are run once for many rows.

A row's result must not depend on its company, to the last bit. So a row is padded to a width that
follows from its own length, and runs only with rows of that width: it then goes through the same
sums in the same order whatever the token budget, the shard or the other rows. Two things besides
would change the order, on a CPU: matrix products of fewer than `LEAST` tokens, so rows are repeated
until there are as many (see `filled`); and a batch without any padding, for which attention
takes another way, so every row has a masked column somewhere before or after it. (What is left: an
MLP whose number of neurons is no multiple of 32 may have another last bit in a batch's last row.)
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from steerpaper.engine.caches import Cache, Change, Site, below, no_cache
from steerpaper.engine.forward import forward
from steerpaper.engine.model import LanguageModel, out_of_memory
from steerpaper.engine.placing import moved
from steerpaper.engine.together import TOGETHER, Together
from steerpaper.engine.widths import columns_for, width_of
from steerpaper.errors import UserError
from steerpaper.workflow import counts

log = logging.getLogger(__name__)

Ids = Sequence[int]
Result = TypeVar("Result")
# what is done with a batch of whole rows: (items, ids [row, token], mask [row, token]) -> result
Look = Callable[[list[int], Tensor, Tensor], Result]

# columns in which prefixes are kept: multiples of these
KEPT = 64
# keys and values of so many times the tokens of a pass are held while what follows them is run, as
# long as they are no more than so many: of few prompts, rows of one token would fill no pass
HELD, MOST_HELD = 4, 4096


def filled(batch: Sequence[int], width: int) -> list[int]:
    """A batch with its first item repeated until its rows and columns make `LEAST`."""
    return [*batch, *[batch[0]] * (columns_for(width) - len(batch))]


def plan(widths: Sequence[int], budget: int) -> list[list[int]]:
    """Batches of items of one width each, of at most `budget` tokens, in the items' order.

    Every item is in exactly one batch; an item wider than the budget is a batch of its own. Batches
    of a width are of like size: a pass of a few left over would take the time of a whole one.
    """
    groups: dict[int, list[int]] = {}
    for item, width in enumerate(widths):
        groups.setdefault(width, []).append(item)
    batches = []
    for width, items in sorted(groups.items()):
        most = max(1, budget // max(1, width))
        size = -(-len(items) // -(-len(items) // most))
        batches += [items[start : start + size] for start in range(0, len(items), size)]
    return batches


def run_batches(
    widths: Sequence[int],
    budget: int,
    run: Callable[[list[int]], Result],
    together: Together | None = None,
) -> Iterator[tuple[list[int], Result]]:
    """Call `run` on every planned batch of items; on out-of-memory halve the batch and go on.

    Args:
        widths: tokens, padding included, that an item takes.
        budget: tokens that a batch may hold.
        together: of a model that runs elsewhere, what lets batches run side by side.

    Raises:
        UserError: a single item does not fit in memory.
    """
    batches = plan(widths, budget)
    if together is None:
        yield from _halving(batches, widths, run)
        return
    for some in groups_of(batches, widths):
        halving = [_halving([batch], widths, run) for batch in some]
        tasks: list[Callable[[], list[tuple[list[int], Result]]]]
        tasks = [partial(list, one) for one in halving]
        yield from chain(*together.at_once(tasks))


def _halving(
    batches: Sequence[list[int]], widths: Sequence[int], run: Callable[[list[int]], Result]
) -> Iterator[tuple[list[int], Result]]:
    """Run batches in order; one that does not fit in two halves."""
    todo = [*batches[::-1]]
    while todo:
        batch = todo.pop()
        try:
            result = run(batch)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(batch) == 1:
                raise UserError(
                    f"out of memory with one sequence of {widths[batch[0]]} tokens; "
                    "use a machine with more memory, more GPUs a job (gpus_per_job), offload with "
                    "a lower gpu_memory, a smaller model or shorter prompts"
                ) from error
            log.warning("out of memory with %d sequences: halved and retried", len(batch))
            torch.cuda.empty_cache()
            half = len(batch) // 2
            todo += [batch[half:], batch[:half]]
            continue
        yield batch, result


def groups_of(batches: Sequence[list[int]], widths: Sequence[int]) -> Iterator[list[list[int]]]:
    """Batches that run side by side, as many at a time as go in one request."""
    some: list[list[int]] = []
    tokens = 0
    for batch in batches:
        some.append(batch)
        tokens += sum(widths[item] for item in batch)
        if tokens >= TOGETHER:
            yield some
            some, tokens = [], 0
    if some:
        yield some


def padded(
    rows: Sequence[Ids], lm: LanguageModel, width: int, *, side: str = "right"
) -> tuple[Tensor, Tensor]:
    """Pad rows of token ids to `width`: ids and mask, both [row, token], on the model's device."""
    ids = torch.full((len(rows), width), lm.pad)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        where = slice(0, len(tokens)) if side == "right" else slice(width - len(tokens), width)
        ids[row, where] = torch.tensor(tokens, dtype=ids.dtype)
        mask[row, where] = 1
    return moved(ids, lm.device), moved(mask, lm.device)


# whole rows


def run_rows(
    lm: LanguageModel, rows: Sequence[Ids], budget: int, look: Look[Result], start: Ids = ()
) -> Iterator[tuple[list[int], Result]]:
    """Call `look` on every batch of whole rows, padded on the right; yields items and results.

    What `look` is given is the batch with its first item repeated (see `filled`), so results may be
    of more rows than the items are.

    Args:
        rows: token ids; every row has at least one.
        budget: tokens, padding included, that a batch may hold.
        start: what all rows begin with (see `text.beginning`).
    """
    # one column more is padding in every row
    widths = [len(start) + width_of(len(row)) + 1 for row in rows]

    def run(batch: list[int]) -> Result:
        items = filled(batch, widths[batch[0]])
        full = [[*start, *rows[item]] for item in items]
        ids, mask = padded(full, lm, widths[batch[0]])
        with counts.useful(len(batch)):
            return look(items, ids, mask)

    return run_batches(widths, budget, run, lm.together)


def read_rows(
    lm: LanguageModel, ids: Tensor, mask: Tensor, reads: dict[Site, Change]
) -> dict[Site, Tensor]:
    """One forward pass of whole rows that keeps what `reads` asks for."""
    if lm.stretch:
        lm = lm.for_length(int(mask.sum(1).max()))
    found, _ = forward(lm, ids, mask, empty_prefix(lm, len(ids)).cache, reads=reads)
    return found


def last_tokens(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Index pair (row, token) of every row's last token that is not padding."""
    return torch.arange(len(mask), device=mask.device), mask.sum(dim=1) - 1


# rows after a prefix


@dataclass(frozen=True)
class Prefix:
    """What is left of tokens already run, for a batch of rows.

    Attributes:
        cache: every forward pass is given a copy.
        mask: [row, token] 1 for tokens, 0 for padding.
    """

    cache: Cache
    mask: Tensor

    def select(self, rows: Tensor, from_layer: int = 0, room: int = 0) -> "Prefix":
        """Take rows, repeated as often as they are named; blocks below `from_layer` are left out.

        The copy can grow without changing this prefix, by `room` tokens without being copied again.
        """
        mask = self.mask.index_select(0, rows.to(self.mask.device))
        return Prefix(self.cache.select(rows, from_layer, room), mask)

    def repeated(self, rows: int) -> "Prefix":
        """This prefix of one row, for so many rows."""
        return self.select(torch.zeros(rows, dtype=torch.long, device=self.mask.device))

    def widened(self, width: int) -> "Prefix":
        """This prefix with masked columns before it, up to `width` columns."""
        more = width - self.mask.shape[1]
        return Prefix(self.cache.widened(more), pad(self.mask, (more, 0)))

    def extend(self, mask: Tensor) -> Tensor:
        """The mask of this prefix followed by new tokens, [row, cached + token]."""
        return torch.cat([self.mask, mask], dim=1)


def empty_prefix(lm: LanguageModel, rows: int) -> Prefix:
    """A prefix of no tokens."""
    none = torch.zeros(rows, 0, dtype=torch.long, device=lm.device)
    return Prefix(no_cache(lm.how, rows), none)


def joined(parts: Sequence[tuple[Sequence[int], Prefix]]) -> Prefix:
    """Prefixes of one width below each other, their rows in the order of their numbers.

    Args:
        parts: the rows' numbers, 0 to n - 1 each once, and the prefix.
    """
    order = torch.tensor([row for rows, _ in parts for row in rows]).argsort()
    order = order.to(parts[0][1].mask.device)
    if len(parts) == 1:
        return parts[0][1].select(order)
    cache = below([prefix.cache for _, prefix in parts])
    return Prefix(cache, torch.cat([prefix.mask for _, prefix in parts])).select(order)


def shared_length(rows: Sequence[Ids]) -> int:
    """Number of tokens that all rows begin with."""
    first, last = min(map(list, rows)), max(map(list, rows))
    for index, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            return index
    return min(len(first), len(last))


def kept_width(length: int) -> int:
    """The columns that the keys and values of a prefix are kept in; one at least is padding."""
    return -(-(width_of(length) + 1) // KEPT) * KEPT if length else 0


def no_edits(rows: list[int], width: int) -> dict[Site, Change]:
    """Nothing is edited."""
    return {}


class Prefixes:
    """What many rows begin with, run once: the root that all texts share, then each text's own.

    Texts are run at widths near their own lengths, and kept at few: what follows them can then be
    run together.

    Attributes:
        widths: per text, the columns that its own part is kept in, which `batches` plans by.
        root_length: tokens of the root.
    """

    def __init__(self, lm: LanguageModel, texts: Sequence[Ids], budget: int) -> None:
        """Run the root.

        Where padding between tokens would matter (a window that counts columns) the root stays
        empty.

        Args:
            texts: token ids; a text may have none.
            budget: tokens that a pass may hold; the texts of `run` may have more.
        """
        self.root_length = 0 if not lm.how.gaps or not texts else shared_length(texts)
        self._lm, self._budget = lm, budget
        self._held = max(budget, min(HELD * budget, MOST_HELD))
        self._rest = [text[self.root_length :] for text in texts]
        self.widths = [kept_width(len(rest)) for rest in self._rest]
        self._root = empty_prefix(lm, 1)
        if self.root_length:
            ids, mask = padded([texts[0][: self.root_length]], lm, self.root_length)
            none, width = self._root, self.root_length
            # a batch of one, so that what does not fit is told alike
            runs = run_batches([width], width, lambda _: self._run(none, ids, mask))
            ((_, self._root),) = runs

    def run(self, items: Sequence[int]) -> Prefix:
        """Keys and values of texts of one width, left-padded so that what follows is adjacent."""
        return self.run_rows([self._rest[item] for item in items], no_edits)

    def run_rows(
        self, rows: Sequence[Ids], edits: Callable[[list[int], int], dict[Site, Change]]
    ) -> Prefix:
        """The same of any rows after the root whose `kept_width` is the same.

        Args:
            edits: (numbers of rows that are run together, their width) -> edits on the way.
        """
        if not rows[0]:
            return self._root.repeated(len(rows))
        # one column more is padding in every row
        widths = [width_of(len(row)) + 1 for row in rows]
        parts = []
        for batch in plan(widths, self._budget):
            width = widths[batch[0]]
            full = filled(batch, width)
            ids, mask = padded([rows[row] for row in full], self._lm, width, side="left")
            root = self._root.repeated(len(full))
            with counts.useful(len(batch)):
                found = self._run(root, ids, mask, edits(full, width))
            if len(full) > len(batch):
                found = found.select(torch.arange(len(batch), device=ids.device))
            parts.append((batch, found.widened(self.root_length + kept_width(len(rows[0])))))
        return joined(parts)

    def batches(
        self, widths: Sequence[int], run: Callable[[list[int]], Prefix]
    ) -> Iterator[tuple[list[int], Prefix]]:
        """What `run` makes of as many texts as may be kept at a time; let go before the next.

        Args:
            widths: per text that is run, the columns that it is kept in.
        """
        for chosen, prefix in run_batches(widths, self._held, run):
            yield chosen, prefix
            # whoever asked holds it until the next one is made
            prefix.cache.forget()

    def width(self, item: int, length: int) -> int:
        """The width of a row of `length` tokens that follows a text; 1 of one token."""
        if not self.widths[item]:
            return width_of(length) + 1
        return width_of(length) if length > 1 else 1

    def _run(
        self, start: Prefix, ids: Tensor, mask: Tensor, edits: dict[Site, Change] | None = None
    ) -> Prefix:
        mask = start.extend(mask)
        forward(self._lm, ids, mask, start.cache, edits=edits)
        return Prefix(start.cache, mask)
