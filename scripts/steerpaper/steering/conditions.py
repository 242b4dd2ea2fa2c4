"""What is steered: blocks, a direction, a multiplier."""

from dataclasses import dataclass

UNSTEERED = -1  # the layer of the unsteered run, in tables
BEHAVIOR = "behavior"  # the direction of the behaviour's own vector


@dataclass(frozen=True)
class Condition:
    """multiplier × the direction's vector is added to the residual stream after each block."""

    layers: tuple[int, ...]
    direction: str
    multiplier: float

    @property
    def label(self) -> str:
        """The blocks as text, such as 12 or 12+13."""
        return "+".join(map(str, self.layers))
