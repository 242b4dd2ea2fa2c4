"""Which blocks a configuration names."""

from collections.abc import Mapping, Sequence
from typing import Any

from steerpaper.errors import UserError


def resolve_layers(layers: Any, n_layers: int, key: str) -> list[int]:
    """Turn `all`, a list of blocks, `{every: n}` or `{last: n}` into block numbers.

    Raises:
        UserError: a block that the model does not have.
    """
    if layers == "all":
        return list(range(n_layers))
    if isinstance(layers, Mapping):
        if "last" in layers:
            if layers["last"] > n_layers:
                raise UserError(
                    f"{key}.last: {layers['last']} blocks are asked for; the model has {n_layers}"
                )
            return list(range(n_layers - layers["last"], n_layers))
        return list(range(0, n_layers, layers["every"]))
    for layer in layers:
        if not 0 <= layer < n_layers:
            raise UserError(
                f"{key}: block {layer} does not exist; the model has blocks 0 to {n_layers - 1}"
            )
    return sorted(layers)


def resolve_sets(
    sets: Sequence[Any], chosen: Sequence[int], n_layers: int, key: str
) -> list[tuple[int, ...]]:
    """Turn a configuration's list of `chosen`, blocks and sets of blocks into sets of blocks.

    Args:
        chosen: the blocks that `chosen` stands for.

    Raises:
        UserError: a block that the model does not have.
    """
    named = [chosen if one == "chosen" else [one] if isinstance(one, int) else one for one in sets]
    found = [tuple(resolve_layers(one, n_layers, key)) for one in named]
    # a block may be both the chosen one and named by its number
    return list(dict.fromkeys(found))


def shard_of(layers: Sequence[int], shard: int, shards: int) -> list[int]:
    """The blocks of one shard: ranges in order, whose sizes differ by one at most."""
    return list(layers[len(layers) * shard // shards : len(layers) * (shard + 1) // shards])
