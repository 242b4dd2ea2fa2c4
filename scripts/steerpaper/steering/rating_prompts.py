"""What a judge is asked about completions: a behaviour's rating file, and the questions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from steerpaper.errors import UserError
from steerpaper.reading import read_yaml, shown
from steerpaper.steering.items import plain
from steerpaper.steering.ratings import completions

KEYS = ("scale", "prompt", "system")
PLACES = ("question", "answer")
_PLACE = re.compile(r"\{(" + "|".join(PLACES) + r")\}")
EXPECTED = "a mapping with the keys scale, prompt and, if you like, system"


@dataclass(frozen=True)
class RatingPrompt:
    """How a judge is asked to rate a completion.

    Attributes:
        lowest, highest: of the scale.
        prompt: the question, with {question} and {answer} where these belong.
        system: what the judge is told before it.
    """

    lowest: float
    highest: float
    prompt: str
    system: str | None = None

    def of(self, question: str, answer: str) -> str:
        """The question about a completion; what these hold in braces is no place of ours."""
        said = {"question": question, "answer": answer}
        return _PLACE.sub(lambda place: said[place[1]], self.prompt)


def read_rating(path: str | Path) -> RatingPrompt:
    """Read a behaviour's rating file.

    Raises:
        UserError: names the file and the key of what is not YAML, missing, unknown, or of the wrong
            kind; a scale that is none; a prompt without a place for the question or the answer.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: {shown(content)} is not allowed; expected {EXPECTED}")
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {shown(key)}; expected {EXPECTED}")
    for key in KEYS[:2]:
        if key not in content:
            raise UserError(f"{path}: key '{key}' is missing; expected {EXPECTED}")
    lowest, highest = _scale(content["scale"], f"{path}: scale")
    prompt = _text(content["prompt"], f"{path}: prompt")
    system = _text(content["system"], f"{path}: system") if "system" in content else None
    _check_places(prompt, f"{path}: prompt")
    return RatingPrompt(lowest, highest, prompt.strip(), system.strip() if system else None)


def _scale(value: Any, where: str) -> tuple[float, float]:
    ends = value if isinstance(value, list) else []
    numbers = [
        end
        for end in ends
        if isinstance(end, int | float) and not isinstance(end, bool) and abs(end) < 1e300
    ]
    if not len(ends) == len(numbers) == 2 or not numbers[0] < numbers[1]:
        raise UserError(
            f"{where}: {shown(value)} is not allowed; expected two numbers, the lowest and the "
            "highest rating, as in [0, 10]"
        )
    return float(numbers[0]), float(numbers[1])


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not plain(value, "NFC"):
        raise UserError(f"{where}: {shown(value)} is not allowed; expected text, and not empty")
    return value


def _check_places(prompt: str, where: str) -> None:
    for name in PLACES:
        if f"{{{name}}}" not in prompt:
            raise UserError(
                f"{where}: has no {{{name}}}; write it where a completion's {name} is to stand"
            )
    if other := re.search(r"\{[^{}]*\}?|\}", _PLACE.sub("", prompt)):
        raise UserError(
            f"{where}: {shown(other[0])} is no place; braces stand around question and answer alone"
        )


def rating_prompts(
    samples: pd.DataFrame, questions: Mapping[str, str], rating: RatingPrompt, *, behavior: str
) -> Iterator[dict[str, Any]]:
    """What a judge is asked about each of a behaviour's completions, in their order.

    Args:
        samples: prompt_id, layer, multiplier, decoding, sample, text.
        questions: the open questions by prompt_id.

    Returns:
        rows of behavior, prompt_id, layer, multiplier, decoding, sample, lowest, highest, system,
        question.
    """
    for row, question, text in completions(samples, questions, behavior=behavior):
        yield {
            **row,
            "lowest": rating.lowest,
            "highest": rating.highest,
            "system": rating.system,
            "question": rating.of(question, text),
        }
