"""Rotary positions that are stretched beyond the length that a model was first trained at."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from steerpaper.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stretch:
    """How a model's rotary positions are stretched.

    Attributes:
        kind: transformers' name for it.
        original: the longest sequence, in tokens, of which it is not.
    """

    kind: str
    original: int

    @property
    def moves(self) -> bool:
        """Whether a longer sequence changes the frequencies of all its tokens, the first too.

        Keys and values of a shared beginning are then not those of the whole, and transformers
        takes the longest row of a batch for all of its rows. Other kinds have one set of
        frequencies, whatever the length.
        """
        return "dynamic" in self.kind or self.kind == "longrope"


def stretch_of(config: Any) -> Stretch | None:
    """The stretch of a text model's configuration, of several the one that limits most, or None.

    `dynamic` begins where the context ends (transformers' `max_position_embeddings`); every other
    kind at its `original_max_position_embeddings`, and one that names none is not known to.
    """
    found = getattr(config, "rope_parameters", None) or {}
    # one a kind of attention, or one for all
    several = [one for one in found.values() if isinstance(one, Mapping)] or [found]
    stretches = []
    for one in several:
        kind = str(one.get("rope_type", "default"))
        key = "original_max_position_embeddings"
        original = config.max_position_embeddings if "dynamic" in kind else one.get(key)
        if kind != "default" and original:
            stretches.append(Stretch(kind, int(original)))
    return min(stretches, key=lambda one: (not one.moves, one.original), default=None)


def check_stretch(stretch: Stretch, length: int, name: str) -> None:
    """Warn of a sequence beyond the original length, once a model; refuse it where that moves.

    Args:
        length: tokens.
        name: the model's, for the message.

    Raises:
        UserError: keys and values of a shared beginning would be wrong.
    """
    if length <= stretch.original:
        return
    if stretch.moves:
        raise UserError(
            f"model {name}: a sequence of {length} tokens; beyond {stretch.original} its rotary "
            f"positions ({stretch.kind}) change with the length for all tokens, so that keys and "
            "values of a shared beginning would be wrong; shorten the prompts, or lower "
            "max_new_tokens"
        )
    _warn(stretch, name)


@cache
def _warn(stretch: Stretch, name: str) -> None:
    log.warning(
        "model %s: sequences of more than %d tokens, where its rotary positions are stretched (%s)",
        *(name, stretch.original, stretch.kind),
    )
