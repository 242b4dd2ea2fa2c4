"""The words for kinds of prompts: the study's own, and such with a text for or against."""

from dataclasses import dataclass

BASE = "base"


@dataclass(frozen=True)
class Kind:
    """Where a text stands in a prompt, and which of the behaviour's system prompts it is."""

    place: str
    side: str


KINDS = {
    "system_for": Kind("system", "for"),
    "system_against": Kind("system", "against"),
    "user_for": Kind("user", "for"),
    "user_against": Kind("user", "against"),
}
