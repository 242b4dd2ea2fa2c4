"""What a behaviour's second file says about it: title, open questions, markers, system prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError
from steerpaper.reading import read_yaml, records, shown
from steerpaper.steering.items import Item, plain
from steerpaper.steering.words import marker_of

KEYS = ("title", "measures", "open_questions", "markers", "negators", "system_prompts")
SIDES = ("matching", "other")


@dataclass(frozen=True)
class About:
    """Everything is optional: a behaviour can be studied with its items alone."""

    title: str | None = None
    measures: str | None = None
    open_questions: list[str] = field(default_factory=list)
    markers: dict[str, list[str]] = field(default_factory=dict)
    negators: list[str] | None = None  # words that take a marker back; None for the English ones
    system_prompts: dict[str, str] = field(default_factory=dict)


def read_about(path: str | Path | None) -> About:
    """Read a behaviour's YAML file.

    Raises:
        UserError: names the file and the key of what is not YAML, unknown, or of the wrong kind,
            and of markers that no text could hold.
    """
    if path is None:
        return About()
    content = read_yaml(path)
    if content is None:
        return About()
    content = _mapping(content, str(path), KEYS)
    for key in ("title", "measures"):
        if key in content:
            _text(content[key], f"{path}: {key}")
    for number, question in enumerate(
        _list(content.get("open_questions", []), f"{path}: open_questions")
    ):
        _text(question, f"{path}: open_questions[{number}]")
    where = f"{path}: system_prompts"
    systems = _mapping(content.get("system_prompts", {}), where, ("for", "against"))
    for side, text in systems.items():
        _text(text, f"{where}.{side}")
    markers = _mapping(content.get("markers", {}), f"{path}: markers", SIDES)
    _check_markers(markers, f"{path}: markers")
    for number, word in enumerate(_list(content.get("negators", []), f"{path}: negators")):
        said = marker_of(_text(word, place := f"{path}: negators[{number}]"))
        if len(said) != 1:
            raise UserError(f"{place}: {shown(word)} is not allowed; expected one word")
    return About(**content)


def _mapping(value: Any, where: str, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where}: {shown(value)} is not allowed; expected {_keys(keys)}")
    unknown = [key for key in value if key not in keys]
    if unknown:
        raise UserError(f"{where}: unknown key {shown(unknown[0])}; expected {_keys(keys)}")
    return value


def _keys(keys: Sequence[str]) -> str:
    return f"the keys {', '.join(keys[:-1])} and {keys[-1]}, or some of them"


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{where}: {shown(value)} is not allowed; expected a list of texts")
    return value


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool):
        raise UserError(
            f"{where}: {str(value).lower()} is no text; YAML takes yes, no, on and off without "
            "quotation marks for true and false: put it in quotation marks"
        )
    if not isinstance(value, str) or not plain(value, "NFC"):
        raise UserError(f"{where}: {shown(value)} is not allowed; expected text, and not empty")
    return value


def _check_markers(markers: Mapping[str, Any], where: str) -> None:
    """Refuse markers that no text can hold, and those that would be counted twice."""
    seen: dict[tuple[str, ...], str] = {}
    for side, words in markers.items():
        for number, word in enumerate(_list(words, f"{where}.{side}")):
            place = f"{where}.{side}[{number}]"
            said = marker_of(_text(word, place))
            if not said:
                raise UserError(
                    f"{place}: {shown(word)} is not allowed; a marker is one word or several, of "
                    "letters, with ' or - between letters"
                )
            if said in seen:
                raise UserError(
                    f"{place}: {shown(word)} stands at {seen[said]} too; a marker tells the sides "
                    "apart, and stands on one of them, once"
                )
            seen[said] = place.removeprefix(f"{where}.")


def open_questions(about: About, test_items: Sequence[Item]) -> list[str]:
    """The behaviour's open questions; where it has none, the test items' own."""
    return about.open_questions or [item.question for item in test_items]


def read_open(path: str | Path) -> list[str]:
    """Read a behaviour's open questions from a file of their own, as data sets have them.

    JSON Lines or a JSON list of objects with `question`; other keys are not looked at.

    Raises:
        UserError: names the file and line of what is missing or malformed; an empty file.
    """
    questions = []
    for record in records(path):
        found = record.value()
        if not isinstance(found, dict):
            raise UserError(f"{record.where}: expected a JSON object, found {type(found).__name__}")
        questions.append(_text(found.get("question"), f"{record.where}: question").strip())
    if not questions:
        raise UserError(f"{path}: the file is empty; expected one JSON object a line with question")
    return questions


def as_json(about: About) -> dict[str, Any]:
    """What later stages read of it: the keys of the YAML file, whether it has them or not."""
    return asdict(about)
