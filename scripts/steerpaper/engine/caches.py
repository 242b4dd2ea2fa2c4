"""What a pass leaves behind for the next one: keys and values, or the tokens to run again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from steerpaper.engine.how import How
from steerpaper.workflow import heap

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

    def select(self, rows: Tensor, from_layer: int = 0, room: int = 0) -> "KeysValues":
        """A copy of some rows; blocks below `from_layer` will not run and are not copied.

        It can grow without changing this one; as far as there is room nothing is copied again.
        """
        cache = DynamicCache()
        for layer, old in enumerate(self.of.layers):
            if layer < from_layer:
                # layers that will not run keep their length only, which the model's mask reads
                cache.layers.append(_layer(old.keys, old.values))
            elif room:
                cache.layers.append(_Roomy(old, rows.to(old.keys.device), room))
            else:
                index = rows.to(old.keys.device)
                new = [part.index_select(0, index) for part in (old.keys, old.values)]
                cache.layers.append(_layer(*new))
        return KeysValues(cache)

    def forget(self) -> None:
        """Let go of everything, whoever still holds this, and of the memory that it took."""
        self.of.layers.clear()
        heap.give_back()

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


class _Roomy(DynamicLayer):  # type: ignore[misc]
    """Some rows of keys and values, with room for more tokens behind them."""

    def __init__(self, old: DynamicLayer, rows: Tensor, room: int) -> None:
        super().__init__()
        self.lazy_initialization(old.keys, old.values)
        held = old.keys.shape[-2]
        self._whole = []
        for part in (old.keys, old.values):
            whole = part.new_empty(len(rows), part.shape[1], held + room, part.shape[-1])
            torch.index_select(part, 0, rows, out=whole[:, :, :held])
            self._whole.append(whole)
        self.keys, self.values = (whole[:, :, :held] for whole in self._whole)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new tokens behind those there are."""
        held = self.keys.shape[-2]
        grown = held + key_states.shape[-2]
        if grown > self._whole[0].shape[-2]:
            both: tuple[Tensor, Tensor] = super().update(key_states, value_states)
            return both
        for whole, new in zip(self._whole, (key_states, value_states), strict=True):
            whole[:, :, held:grown] = new
        self.keys, self.values = (whole[:, :, :grown] for whole in self._whole)
        return self.keys, self.values


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

    def select(self, rows: Tensor, from_layer: int = 0, room: int = 0) -> "Replay":
        """Some rows."""
        return Replay([self.rows[row] for row in rows.tolist()])

    def forget(self) -> None:
        """Let go of everything, whoever still holds this."""
        self.rows = []

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
