"""What a judge is: somebody who writes about texts, and answers questions about them.

The same judges are used by both studies: whoever asks says which section of the configuration the
question comes from, so that messages name its keys.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

# the questions that follow from an answer
FollowUps = Callable[[str], list[str]]

# what may stand around the one number of a rating: "Rating: 7", "**7**", "7/10", "7 out of 10."
_RATING = re.compile(
    r"(?:\**(?:rating|score)\**\s*[:=]\**\s*)?\**(-?[0-9]+(?:\.[0-9]+)?)"
    r"(?:\s*(?:/|out of)\s*([0-9]+(?:\.[0-9]+)?))?\**\.?",
    re.IGNORECASE,
)
# and around the one word of a label: "Label: other", "**Other**", "(other)."
_WORD = re.compile(
    r"(?:\**(?:label|answer)\**\s*[:=]\**\s*)?[*\"'(]*([a-z]+)[*\"')]*\.?[*\"')]*",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Question:
    """A question with what goes beyond its text.

    Attributes:
        text: as it is asked.
        system: what a judge is told before it; None for nothing.
        nth: the how manieth time it is asked; a later time is asked anew, whatever is kept.
    """

    text: str
    system: str | None = None
    nth: int = 1


# a text alone is a question, too
Asked = str | Question


def as_question(asked: Asked) -> Question:
    """A question, of a text alone."""
    return Question(asked) if isinstance(asked, str) else asked


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

    def fits(self, question: Asked) -> bool:
        """Whether a question can be read whole, with room for the answer."""

    def prepare(self, questions: Sequence[Asked], follow_ups: Sequence[FollowUps] = ()) -> None:
        """Say what will be asked, before it is: questions, and what follows from each's answer.

        Without `follow_ups` nothing does.
        """

    def write(self, questions: Sequence[Asked]) -> list[str]:
        """An answer to every question; empty where none was given."""

    def judge(self, judgements: Sequence[Judgement]) -> list[bool | None]:
        """Yes or no for every judgement; None where there was no usable answer."""


def parse_answer(answer: str) -> bool | None:
    """Yes or No out of an answer; None where it says neither, or both."""
    words = set(re.findall(r"[a-z]+", answer.lower())) & {"yes", "no"}
    return "yes" in words if len(words) == 1 else None


def parse_rating(answer: str, lowest: float, highest: float) -> float | None:
    """The rating that an answer is; None where it is anything else, or not on the scale.

    An answer is one number, "Rating:" or "Score:" may stand before it and "/10" or "out of 10"
    behind it, where 10 is the scale's highest. Of prose no number is taken: which one would be a
    guess.
    """
    found = _RATING.fullmatch(answer.strip())
    if not found or (found[2] and float(found[2]) != highest):
        return None
    rating = float(found[1])
    return rating if lowest <= rating <= highest else None


def parse_word(answer: str, words: Sequence[str]) -> str | None:
    """The one of some words, in small letters, that an answer is; None where it is anything else.

    "Label:" or "Answer:" may stand before it. Of prose no word is taken: "not matching" is not.
    """
    found = _WORD.fullmatch(answer.strip())
    word = found[1].lower() if found else None
    return word if word in words else None
