"""What the cost of steering is measured on: neutral texts, and knowledge questions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steerpaper.engine.text import refuse_control_tokens
from steerpaper.errors import UserError
from steerpaper.steering.items import Item, records

KNOWLEDGE = ("question", "correct", "wrong")


def read_neutral(path: str | Path) -> list[str]:
    """Read neutral text: JSON Lines with the key `text`, a paragraph a line.

    Raises:
        UserError: names the file and line of what is missing or malformed; an empty file.
    """
    texts = [_fields(where, record, ("text",))[0] for where, _, record in records(path)]
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
    for where, number, record in records(path):
        question, correct, wrong = _fields(where, record, KNOWLEDGE)
        if correct.lower() == wrong.lower():
            raise UserError(f"{where}: both answers are the same: {correct!r}")
        items.append(Item(question, correct, wrong, number, where))
    if not items:
        raise UserError(
            f"{path}: the file is empty; expected one JSON object a line with the keys "
            f"{', '.join(KNOWLEDGE)}, or set steering.cost.behaviors: []"
        )
    return items


def _fields(where: str, record: Any, keys: Sequence[str]) -> list[str]:
    if not isinstance(record, dict):
        raise UserError(f"{where}: expected a JSON object, found {type(record).__name__}")
    for key in keys:
        if not isinstance(record.get(key), str) or not record[key].strip():
            raise UserError(
                f"{where}: '{key}' must be text and not empty, found {record.get(key)!r}; "
                f"expected the keys {', '.join(keys)}"
            )
    return [record[key].strip() for key in keys]


def text_ids(tokenizer: Any, texts: Sequence[str], context: int | None) -> list[list[int]]:
    """Token ids of plain texts, with the special tokens that the tokenizer adds by itself.

    A text longer than the context is cut at its end.

    Raises:
        UserError: a text of fewer than two tokens: the first predicts and is not predicted.
    """
    found: list[list[int]] = []
    for number, text in enumerate(texts, 1):
        source = f"steering.cost.neutral, text {number}"
        refuse_control_tokens(tokenizer, {"text": text}, source)
        ids = tokenizer(text)["input_ids"][:context]
        if len(ids) < 2:
            raise UserError(
                f"steering.cost.neutral: text {number} has {len(ids)} token(s), at least 2 are "
                f"needed: {text!r}"
            )
        found.append(ids)
    return found
