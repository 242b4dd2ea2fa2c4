"""Whole rows run anew: what passes need where nothing that was computed before can be used again.

A row's tokens are put side by side, with padding behind them alone, whatever columns they came in:
then a causal model, whatever it does with positions, windows or state, computes what it computes
of the row by itself. What was done to earlier tokens on their way is done to them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from steerpaper.engine.caches import Change, Ran, Replay, Site
from steerpaper.engine.how import How
from steerpaper.engine.widths import width_of

# (rows of the group, columns in it), (rows of a pass, columns in that)
Places = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Group:
    """Whole rows that are run together.

    Attributes:
        numbers: the rows' numbers.
        ids, mask: [row, token], a row's tokens side by side from the first column on.
        where: per pass that gave tokens, where these stand: no token of a pass twice in one entry.
    """

    numbers: list[int]
    ids: Tensor
    mask: Tensor
    where: list[tuple[Ran, Places]]

    def sites(self) -> set[Site]:
        """Where something was done to tokens."""
        return {site for ran, _ in self.where for site in ran.edits}

    def change(self, site: Site) -> Change:
        """What was done at a site, on the group's own rows and columns."""

        def change(hidden: Tensor) -> Tensor:
            new = hidden.clone()
            for ran, (mine, its) in self.where:
                if site in ran.edits:
                    there = hidden.new_zeros(*ran.ids.shape, hidden.shape[-1])
                    there[its] = hidden[mine]
                    new[mine] = ran.edits[site](there)[its]
            return new

        return change

    def places(self, ran: Ran) -> Places:
        """Where the tokens of the last pass stand, of which every row is in one entry."""
        (places,) = [places for one, places in self.where if one is ran]
        return places


def groups(cache: Replay, how: How, pad: int) -> Iterator[Group]:
    """The rows of a cache by the width that follows from their own length, or each by itself.

    Args:
        pad: the id of padding.
    """
    ids = [torch.cat([ran.ids[n][ran.mask[n] > 0] for ran, n in row]) for row in cache.rows]
    by_width: dict[tuple[int, int], list[int]] = {}
    for number, row in enumerate(ids):
        # one column more is padding in every row (see engine.batching)
        key = (width_of(len(row)) + 1, 0) if how.padding else (len(row), number)
        by_width.setdefault(key, []).append(number)
    for (width, _), numbers in sorted(by_width.items()):
        whole = torch.full((len(numbers), width), pad, device=ids[0].device)
        mask = torch.zeros_like(whole)
        for place, number in enumerate(numbers):
            whole[place, : len(ids[number])] = ids[number]
            mask[place, : len(ids[number])] = 1
        yield Group(numbers, whole, mask, _where([cache.rows[number] for number in numbers]))


def _where(rows: Sequence[tuple[tuple[Ran, int], ...]]) -> list[tuple[Ran, Places]]:
    """Where the tokens of every pass stand in rows that are put side by side."""
    # a pass's row may have become several rows: the k-th of these is in the k-th entry
    entries: dict[tuple[int, int], tuple[Ran, list[list[int]]]] = {}
    seen: dict[tuple[int, int], int] = {}
    for place, row in enumerate(rows):
        column = 0
        for ran, number in row:
            nth = seen[id(ran), number] = seen.get((id(ran), number), -1) + 1
            _, found = entries.setdefault((id(ran), nth), (ran, []))
            for its in ran.mask[number].nonzero()[:, 0].tolist():
                found.append([place, column, number, its])
                column += 1
    several = [(ran, torch.tensor(found).view(-1, 4).T) for ran, found in entries.values()]
    return [(ran, ((at[0], at[1]), (at[2], at[3]))) for ran, at in several]
