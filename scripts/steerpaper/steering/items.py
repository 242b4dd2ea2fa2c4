"""Behaviour data: reading raw items, and dealing letters to their answers."""

import logging
import re
import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from steerpaper.errors import UserError
from steerpaper.reading import records, shown
from steerpaper.seeds import stream

log = logging.getLogger(__name__)

OWN = ("question", "matching", "other")
PUBLISHED = ("question", "answer_matching_behavior", "answer_not_matching_behavior")

# "(A) text", at the start of a line or after white space
_CHOICE = re.compile(r"(?:^|\s)\(([A-Z])\)(?:\s+|(?=[\w'\"]))")
_LETTER = re.compile(r"^\s*\(([A-Za-z])\)\s*$")


@dataclass(frozen=True)
class Given:
    """An item as its file has it: the question with all its choices, and both answers' letters."""

    question: str
    matching: str
    other: str


@dataclass(frozen=True)
class Item:
    """A question without choices, and the texts of the two answers to it.

    Attributes:
        side: Yes or No, the matching answer, in a file in which every answer is one of these.
        given: the item with choices and letters as in its file, where it has some.
        split: train, dev or test, where its file is that split's own.
    """

    question: str
    matching: str
    other: str
    number: int
    source: str
    side: str | None = None
    given: Given | None = None
    split: str = ""


def read_items(path: str | Path, bad_items: str = "stop") -> list[Item]:
    """Read a behaviour's raw items from JSON Lines or a JSON list.

    An item is `question`, `matching`, `other`, or the published format (Perez et al. 2022,
    Panickssery et al. 2023): `question`, `answer_matching_behavior`,
    `answer_not_matching_behavior`. There an answer such as "(A)" names one of the choices that
    the question holds; the choices' texts become the answers, and the question loses its
    choices. Any other answer (" Yes", " No") is taken as the answer's own text.

    Args:
        bad_items: `stop` raises at the first item that is malformed or doubled, `drop` leaves
            such items out and logs each with its reason, `keep` keeps the doubled ones, as
            published files have them, logs each, and raises at malformed ones.

    Raises:
        UserError: names the file and line of what is missing, malformed or doubled.
    """
    items: list[Item] = []
    seen: dict[Hashable, str] = {}
    read = 0
    for record in records(path):
        read += 1
        try:
            item = _item(record.where, record.number, record.value())
            key = asked_by(item)
            if key in seen:
                again = f"{record.where}: the question of {seen[key]} again"
                if bad_items != "keep":
                    raise UserError(
                        f"{again}; remove one of them "
                        "(a doubled question could be in train and test at once)"
                    )
                log.warning("kept: %s", again)
        except UserError as error:
            if bad_items == "drop":
                log.warning("dropped: %s", error)
                continue
            raise
        items.append(item)
        seen.setdefault(key, record.where)
    if not items:
        why = "every item was dropped" if read else "the file is empty"
        raise UserError(f"{path}: {why}; expected one JSON object a line")
    return with_sides(items)


def with_sides(items: Sequence[Item]) -> list[Item]:
    """A file's items with their sides, if all of its answers are Yes or No; else as they are."""
    answers = [(plain(item.matching, "NFKC"), plain(item.other, "NFKC")) for item in items]
    if any(set(both) != {"yes", "no"} for both in answers):
        return list(items)
    return [
        replace(item, side=matching.capitalize())
        for item, (matching, _) in zip(items, answers, strict=True)
    ]


def plain(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """A text without what a reader does not see: case, white space, zero-width characters, form."""
    if text.isascii():  # which has none of the last two
        return " ".join(text.lower().split())
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    folded = unicodedata.normalize(form, unicodedata.normalize(form, visible).casefold())
    return " ".join(folded.split())


def asked_by(item: Item) -> Hashable:
    """What two items share if their questions are the same: stem and choices, in whatever order.

    One stem with other choices is another question.
    """
    stem, choices = split_choices(item.given.question if item.given else item.question)
    return plain(stem, "NFKC"), tuple(sorted(plain(text, "NFKC") for text in choices.values()))


def _item(where: str, number: int, record: Any) -> Item:
    if not isinstance(record, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(record).__name__}")
    published = "answer_matching_behavior" in record or "answer_not_matching_behavior" in record
    texts = []
    for field in PUBLISHED if published else OWN:
        value = record.get(field)
        if value is None:
            raise UserError(
                f"{where}: field '{field}' is missing; expected {', '.join(OWN)}, "
                f"or {', '.join(PUBLISHED)}"
            )
        if not isinstance(value, str) or not plain(value, "NFC"):
            raise UserError(
                f"{where}: field '{field}' must be text and not empty, found {shown(value)}"
            )
        texts.append(value.strip())
    question, matching, other = texts
    item = Item(question, matching, other, number, where)
    if published:
        item = _from_choices(item)
    if plain(item.matching, "NFC") == plain(item.other, "NFC"):
        raise UserError(f"{where}: both answers are the same: {shown(item.matching)}")
    return item


def _from_choices(item: Item) -> Item:
    """An item of the published form with its choices' texts as answers, if these are letters."""
    where, question, matching, other = item.source, item.question, item.matching, item.other
    letters = [_LETTER.match(matching), _LETTER.match(other)]
    if not any(letters):
        if re.match(r"^\(|^[A-Z]\)?$", matching) or re.match(r"^\(|^[A-Z]\)?$", other):
            raise UserError(
                f"{where}: answers {shown(matching)} and {shown(other)} are neither "
                "'(A)' and '(B)' nor texts"
            )
        return item
    stem, choices = split_choices(question)
    found = ", ".join(f"({letter})" for letter in choices) or "none"
    if len(choices) < 2:
        raise UserError(
            f"{where}: the answers {shown(matching)} and {shown(other)} name choices, but the "
            f"question does not hold the two choices '(A) …' and '(B) …' (found: {found})"
        )
    names, texts = [], []
    for answer, letter in zip((matching, other), letters, strict=True):
        name = letter.group(1).upper() if letter else None
        if name not in choices:
            raise UserError(f"{where}: answer {shown(answer)} names none of the choices {found}")
        names.append(name)
        texts.append(choices[name])
    if not stem or not all(texts):
        raise UserError(f"{where}: the question or one of its choices has no text")
    given = Given(question, *names)
    return replace(item, question=stem, matching=texts[0], other=texts[1], given=given)


def split_choices(question: str) -> tuple[str, dict[str, str]]:
    """Split a question with choices "(A) …", "(B) …" into its stem and the choices' texts."""
    marks = list(_CHOICE.finditer(question))
    # the list of choices is the last run of marks that begins with (A)
    starts = [index for index, mark in enumerate(marks) if mark.group(1) == "A"]
    if not starts:
        return question, {}
    marks = marks[starts[-1] :]
    expected = [chr(ord("A") + index) for index in range(len(marks))]
    if [mark.group(1) for mark in marks] != expected:
        return question, {}
    # some files frame the whole as "Question: … Choices: … Answer:"
    end = re.search(r"Answer:?\s*$", question)
    ends = [mark.start() for mark in marks[1:]] + [end.start() if end else len(question)]
    choices = {
        mark.group(1): question[mark.end() : end].strip()
        for mark, end in zip(marks, ends, strict=True)
    }
    stem = re.sub(r"(Choices|Options|Answers):?\s*$", "", question[: marks[0].start()])
    return re.sub(r"^\s*Question:\s*", "", stem).strip(), choices


def deal_letters(n: int, seed: int, behavior: str, split: str) -> list[str]:
    """The matching answer's letter for each of n items: A and B equally often, order by seed.

    With an odd n one letter has one item more.
    """
    letters = np.array(["A", "B"] * ((n + 1) // 2))
    generator = stream(seed, "letters", behavior, split)
    if n % 2 and generator.random() < 0.5:
        letters = letters[::-1]
    return [str(letter) for letter in generator.permutation(letters[:n])]


def renamed(items: Sequence[Item], path: str | Path, name: str) -> list[Item]:
    """The items of a file, with another name of it in their sources."""
    found = str(Path(path))
    return [replace(item, source=item.source.replace(found, name, 1)) for item in items]
