"""What is done to the residual stream in one run: where, along what, how hard, in which way."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One way of steering.

    Attributes:
        layers: the blocks after which the residual stream is changed.
        direction: the name of the direction, one vector a block.
        multiplier: the strength, in units of the direction.
        intervention: what is done with direction and strength (see `engine.intervene`).
        positions: which tokens: `response` (from the last prompt token on), `turn` (from the last
            token of the user's turn on, so that what is prefilled behind it is steered too: CAA's
            `add_vector_from_position`), `last` (the last prompt token alone) or `all`.
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


def untouched(length: int, prefilled: int, positions: Iterable[str]) -> int:
    """How many tokens a prompt begins with that are steered at none of some positions.

    Args:
        length: tokens of the prompt, one or more.
        prefilled: those of them that stand behind the user's turn.
    """
    asked = set(positions)
    if "all" in asked:
        return 0
    return length - 1 - (prefilled if "turn" in asked else 0)
