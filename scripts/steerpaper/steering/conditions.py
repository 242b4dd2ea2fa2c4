"""What is steered: blocks, a direction, a multiplier."""

from dataclasses import dataclass

UNSTEERED = -1  # the layer of the unsteered run, in tables


@dataclass(frozen=True)
class Condition:
    """multiplier × the direction's vector is added to the residual stream after each block."""

    layers: tuple[int, ...]
    direction: str
    multiplier: float
