"""Which blocks a configuration names."""

from collections.abc import Mapping
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
