"""What is done to the residual stream in one run: where, along what, how hard, in which way."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One way of steering.

    Attributes:
        layers: the blocks after which the residual stream is changed.
        direction: the name of the direction, one vector a block.
        multiplier: the strength, in units of the direction.
        intervention: what is done with direction and strength (see `engine.intervene`).
        positions: which tokens: `response` (from the last prompt token on), `last` (that token
            alone) or `all`.
    """

    layers: tuple[int, ...]
    direction: str
    multiplier: float
    intervention: str = "add"
    positions: str = "response"

    @property
    def label(self) -> str:
        """The blocks as text, such as 12 or 12+13."""
        return "+".join(map(str, self.layers))
