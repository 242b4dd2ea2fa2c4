"""What a pass leaves behind for the next one: keys and values, or the tokens to run again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from steerpaper.engine.how import How

# a place in the model: (block, name), the names in the order in which a pass reaches them
Site = tuple[int, str]
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of every block; a pass that is given it makes it grow.

    Attributes:
        of: the model's own cache.
    """

    of: DynamicCache = field(default_factory=DynamicCache)

    def select(self, rows: Tensor, from_layer: int = 0) -> "KeysValues":
        """A copy of some rows; blocks below `from_layer` will not run and are not copied.

        It can grow without changing this one: a cache layer that grows makes new tensors.
        """
        cache = DynamicCache()
        for layer, old in enumerate(self.of.layers):
            # layers that will not run keep their length only, which the model's mask reads
            take = layer >= from_layer
            index = rows.to(old.keys.device)
            new = [part.index_select(0, index) if take else part for part in (old.keys, old.values)]
            cache.layers.append(_layer(*new))
        return KeysValues(cache)

    def widened(self, more: int) -> "KeysValues":
        """A copy with masked columns before it."""
        cache = DynamicCache()
        for old in self.of.layers:
            new = [pad(part, (0, 0, more, 0)) for part in (old.keys, old.values)]
            cache.layers.append(_layer(*new))
        return KeysValues(cache)


def _layer(keys: Tensor, values: Tensor) -> DynamicLayer:
    new = DynamicLayer()
    new.lazy_initialization(keys, values)
    new.keys, new.values = keys, values
    return new


@dataclass(frozen=True, eq=False)
class Ran:
    """Tokens that were given to a pass, and what was done to them on the way.

    Attributes:
        ids, mask: [row, token].
        edits: what takes a tensor's place, by site, as functions of all rows at once.
    """

    ids: Tensor
    mask: Tensor
    edits: Mapping[Site, Change]


@dataclass
class Replay:
    """Nothing that was computed: what each row has been given so far, to be run again.

    Attributes:
        rows: per row, what it was given, in order: the pass and the row's number in it.
    """

    rows: list[tuple[tuple[Ran, int], ...]]

    def select(self, rows: Tensor, from_layer: int = 0) -> "Replay":
        """Some rows."""
        return Replay([self.rows[row] for row in rows.tolist()])

    def widened(self, more: int) -> "Replay":
        """The same: masked columns are not run."""
        return self

    def grow(self, ran: Ran) -> None:
        """Every row is given its tokens of a pass."""
        self.rows = [(*row, (ran, number)) for number, row in enumerate(self.rows)]


Cache = KeysValues | Replay


def below(caches: Sequence[Cache]) -> Cache:
    """The rows of some caches, all of one kind and width, below each other."""
    if isinstance(caches[0], Replay):
        return Replay([row for one in caches if isinstance(one, Replay) for row in one.rows])
    cache = DynamicCache()
    every = [one.of.layers for one in caches if isinstance(one, KeysValues)]
    for layers in zip(*every, strict=True):
        keys = torch.cat([layer.keys for layer in layers])
        cache.layers.append(_layer(keys, torch.cat([layer.values for layer in layers])))
    return KeysValues(cache)


def no_cache(how: How, rows: int) -> Cache:
    """What rows have before any pass."""
    return KeysValues() if how.reuse else Replay([()] * rows)
