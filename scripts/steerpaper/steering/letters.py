"""How an item's choices are shown and lettered: dealt anew by seed, or as its file has them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from steerpaper.errors import UserError
from steerpaper.steering.items import Item, deal_letters, split_choices

LETTERS = ("A", "B")


@dataclass(frozen=True)
class Asked:
    """A question with its choices, and the letters of the two answers that are compared.

    Attributes:
        question: what the prompt's file calls the question: without choices that were dealt.
        shown: what the model is shown.
    """

    question: str
    shown: str
    matching: str
    other: str


def dealt(items: Sequence[Item], seed: int, behavior: str, split: str) -> list[Asked]:
    """Both answers as choices A and B, matching equally often (see `deal_letters`).

    Of more than two choices the two that the answers name are shown.
    """
    letters = deal_letters(len(items), seed, behavior, split)
    return [
        Asked(item.question, with_choices(item.question, answers_of(item), letter), *pair(letter))
        for item, letter in zip(items, letters, strict=True)
    ]


def as_given(items: Sequence[Item], seed: int, behavior: str, split: str) -> list[Asked]:
    """Each item's own question, with all its choices and its letters; nothing is drawn.

    Raises:
        UserError: an item whose answers name no letters of choices.
    """
    asked = []
    for item in items:
        if item.given is None:
            raise UserError(
                f"{item.source}: steering.prompts.letters is as_given, but the item's answers name "
                "no choices of its question by letter, as in '(A)'; give it choices and letters, "
                "or set steering.prompts.letters: dealt"
            )
        given = item.given
        asked.append(Asked(given.question, given.question, given.matching, given.other))
    return asked


# by the value of steering.prompts.letters
ASKED: Mapping[str, Callable[[Sequence[Item], int, str, str], list[Asked]]] = {
    "dealt": dealt,
    "as_given": as_given,
}


def answers_of(item: Item) -> dict[str, str]:
    """The texts of both answers."""
    return {"matching": item.matching, "other": item.other}


def with_choices(question: str, answers: Mapping[str, str], letter: str) -> str:
    """A question followed by both answers as choices; `letter` (A or B) is the matching one's."""
    first, second = answers["matching"], answers["other"]
    if letter != "A":
        first, second = second, first
    return f"{question}\n\nChoices:\n (A) {first}\n (B) {second}"


def pair(letter: str) -> tuple[str, str]:
    """The letter of the matching choice, A or B, and that of the other."""
    return letter, LETTERS[letter == "A"]


def letter_of(continuation: str) -> str:
    """The letter of a prompt's continuation, "A" or "(A"."""
    return continuation.strip(" (")


def shown_letters(question: str, pair: Sequence[str]) -> str:
    """The letters of the choices that a prompt shows, in one text.

    Args:
        question: of a row of a prompt file: with its choices where they are as given.
        pair: the letters that are compared.
    """
    _, choices = split_choices(question)
    return "".join(sorted({*choices, *pair}))
