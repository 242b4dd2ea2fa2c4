"""What the cost of steering is measured on: neutral texts, and knowledge questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steerpaper.engine.text import refuse_control_tokens
from steerpaper.errors import UserError
from steerpaper.reading import Record, records, shown
from steerpaper.steering.items import Item, plain, with_sides

KNOWLEDGE = ("question", "correct", "wrong")


@dataclass(frozen=True)
class Text:
    """A neutral text, and the file and line that it stands in."""

    text: str
    source: str


def read_neutral(path: str | Path) -> list[Text]:
    """Read neutral text: JSON Lines with the key `text`, a paragraph a line.

    Raises:
        UserError: names the file and line of what is missing or malformed; an empty file.
    """
    texts = [Text(_fields(record, ("text",))[0], record.where) for record in records(path)]
    if not texts:
        raise UserError(
            f"{path}: the file is empty; expected one JSON object a line with the key text, or set "
            "steering.cost.behaviors: []"
        )
    return texts


def read_knowledge(path: str | Path) -> list[Item]:
    """Read knowledge questions: JSON Lines with question, correct, wrong.

    An item's `matching` is the correct answer.

    Raises:
        UserError: names the file and line of what is missing or malformed; an empty file.
    """
    items = []
    for record in records(path):
        question, correct, wrong = _fields(record, KNOWLEDGE)
        if plain(correct, "NFC") == plain(wrong, "NFC"):
            raise UserError(f"{record.where}: both answers are the same: {shown(correct)}")
        items.append(Item(question, correct, wrong, record.number, record.where))
    if not items:
        raise UserError(
            f"{path}: the file is empty; expected one JSON object a line with the keys "
            f"{', '.join(KNOWLEDGE)}, or set steering.cost.behaviors: []"
        )
    return with_sides(items)


def _fields(record: Record, keys: Sequence[str]) -> list[str]:
    found = record.value()
    if not isinstance(found, dict):
        raise UserError(f"{record.where}: expected a JSON object, found {type(found).__name__}")
    for key in keys:
        if not isinstance(found.get(key), str) or not plain(found[key], "NFC"):
            raise UserError(
                f"{record.where}: '{key}' must be text and not empty, found "
                f"{shown(found.get(key))}; expected the keys {', '.join(keys)}"
            )
    return [found[key].strip() for key in keys]


def text_ids(tokenizer: Any, texts: Sequence[Text], context: int | None) -> list[list[int]]:
    """Token ids of plain texts, with the special tokens that the tokenizer adds by itself.

    A text longer than the context is cut at its end.

    Raises:
        UserError: names the file and line of a text with one of the model's control tokens, or of
            fewer than two tokens: the first predicts and is not predicted.
    """
    found: list[list[int]] = []
    for text in texts:
        refuse_control_tokens(tokenizer, {"text": text.text}, text.source)
        ids = tokenizer(text.text)["input_ids"][:context]
        if len(ids) < 2:
            raise UserError(
                f"{text.source}: the text has {len(ids)} token(s), at least 2 are needed: "
                f"{shown(text.text)}"
            )
        found.append(ids)
    return found
