"""What a judge is: somebody who writes about texts, and answers questions about them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

# the questions that follow from an answer
FollowUps = Callable[[str], list[str]]


@dataclass(frozen=True)
class Judgement:
    """A yes-or-no question about a text.

    Attributes:
        question: as it is asked.
        baseline: the same question about a text without content, for a judge that leans to one
            of the two words whatever it is asked.
    """

    question: str
    baseline: str


class Judge(Protocol):
    """Whoever reads texts and answers about them.

    Attributes:
        name: for tables and messages.
    """

    name: str

    def fits(self, question: str) -> bool:
        """Whether a question can be read whole, with room for the answer."""

    def prepare(self, questions: Sequence[str], follow_ups: Sequence[FollowUps]) -> None:
        """Say what will be asked, before it is: questions, and what follows from each's answer."""

    def write(self, questions: Sequence[str]) -> list[str]:
        """An answer to every question; empty where none was given."""

    def judge(self, judgements: Sequence[Judgement]) -> list[bool | None]:
        """Yes or no for every judgement; None where there was no usable answer."""


def parse_answer(answer: str) -> bool | None:
    """Yes or No out of an answer; None where it says neither, or both."""
    words = set(re.findall(r"[a-z]+", answer.lower())) & {"yes", "no"}
    return "yes" in words if len(words) == 1 else None
