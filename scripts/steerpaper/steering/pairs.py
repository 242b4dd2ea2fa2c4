"""Prompts as token ids: what every step that runs the model starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steerpaper.steering.prompts import continuation_ids, token_ids


@dataclass(frozen=True)
class Pair:
    """A prompt's token ids and those of its two continuations."""

    id: str
    text: list[int]
    matching: list[int]
    other: list[int]

    @property
    def length(self) -> int:
        """Tokens of the prompt with its longer continuation."""
        return len(self.text) + max(len(self.matching), len(self.other))


def tokenize(tokenizer: Any, prompts: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """Tokenise the rows of a prompt file."""
    return [
        Pair(
            id=prompt["id"],
            text=token_ids(tokenizer, prompt["text"]),
            matching=continuation_ids(tokenizer, prompt["text"], prompt["matching"])[0],
            other=continuation_ids(tokenizer, prompt["text"], prompt["other"])[0],
        )
        for prompt in prompts
    ]
