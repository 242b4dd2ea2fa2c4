"""What a behaviour's second file says about it: title, open questions, markers, system prompts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from steerpaper.errors import UserError
from steerpaper.steering.items import Item

KEYS = ("title", "measures", "open_questions", "markers", "system_prompts")


@dataclass(frozen=True)
class About:
    """Everything is optional: a behaviour can be studied with its items alone."""

    title: str | None = None
    measures: str | None = None
    open_questions: list[str] = field(default_factory=list)
    markers: dict[str, list[str]] = field(default_factory=dict)
    system_prompts: dict[str, str] = field(default_factory=dict)


def read_about(path: str | Path | None) -> About:
    """Read a behaviour's YAML file.

    Raises:
        UserError: not YAML, an unknown key, or a value of the wrong kind.
    """
    if path is None:
        return About()
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(content, dict) or set(content) - set(KEYS):
        raise UserError(f"{path}: expected the keys {', '.join(KEYS)}")
    questions = content.get("open_questions", [])
    if not isinstance(questions, list) or not all(isinstance(q, str) and q for q in questions):
        raise UserError(f"{path}: open_questions: expected a list of texts")
    markers = content.get("markers", {})
    if not isinstance(markers, dict) or set(markers) - {"matching", "other"}:
        raise UserError(
            f"{path}: markers: expected the keys matching and other, a list of words each"
        )
    systems = content.get("system_prompts", {})
    if (
        not isinstance(systems, dict)
        or set(systems) - {"for", "against"}
        or not all(isinstance(text, str) and text.strip() for text in systems.values())
    ):
        raise UserError(f"{path}: system_prompts: expected the keys for and against, a text each")
    return About(content.get("title"), content.get("measures"), questions, markers, systems)


def open_questions(about: About, test_items: Sequence[Item]) -> list[str]:
    """The behaviour's open questions; where it has none, the test items' own."""
    return about.open_questions or [item.question for item in test_items]


def as_json(about: About) -> dict[str, Any]:
    """What later stages read of it: the keys of the YAML file, whether it has them or not."""
    return asdict(about)
