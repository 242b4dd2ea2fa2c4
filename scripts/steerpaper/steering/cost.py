"""The cost of steering: how well the model still predicts neutral text and knows plain facts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.errors import UserError
from steerpaper.model import LanguageModel
from steerpaper.steering.conditions import BEHAVIOR, UNSTEERED, Condition
from steerpaper.steering.items import Item, records
from steerpaper.steering.prompts import Prompt
from steerpaper.steering.score import score_completions

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
        ids = tokenizer(text)["input_ids"][:context]
        if len(ids) < 2:
            raise UserError(
                f"steering.cost.neutral: text {number} has {len(ids)} token(s), at least 2 are "
                f"needed: {text!r}"
            )
        found.append(ids)
    return found


def text_logprobs(
    lm: LanguageModel,
    texts: Sequence[Sequence[int]],
    vectors: Mapping[str, NDArray[np.floating]],
    conditions: Sequence[Condition],
    budget: int,
) -> NDArray[np.float64]:
    """Log-probability of every text's tokens but the first, every token steered.

    Returns:
        float64 [text, 1 + condition] in nats, the unsteered run first.
    """
    found = np.zeros((len(texts), 1 + len(conditions)))
    # `response` with the first token as the prompt steers every token
    for numbers, values in score_completions(
        lm,
        [text[:1] for text in texts],
        [(number, text[1:]) for number, text in enumerate(texts)],
        vectors,
        conditions,
        positions="response",
        budget=budget,
    ):
        found[numbers] = values
    return found


def cost_rows(
    names: Sequence[str],
    contrast: str,
    conditions: Sequence[Condition],
    logprob: NDArray[np.float64],
    **columns: NDArray[Any],
) -> pd.DataFrame:
    """One row per item and condition, the unsteered run first.

    Args:
        names: [item].
        contrast: `text` for neutral text, else how the questions are asked.
        logprob: [item, 1 + condition], nats.
        columns: further columns [item, 1 + condition].
    """
    n, k = logprob.shape
    return pd.DataFrame(
        {
            "contrast": contrast,
            "item": np.repeat(names, k),
            "layer": np.tile([UNSTEERED, *(c.layers[0] for c in conditions)], n),
            "layers": np.tile(["", *(c.label for c in conditions)], n),
            "direction": np.tile([BEHAVIOR, *(c.direction for c in conditions)], n),
            "multiplier": np.tile([0.0, *(c.multiplier for c in conditions)], n),
            "logprob": logprob.ravel(),
            **{key: values.ravel() for key, values in columns.items()},
        }
    )


def knowledge_rows(
    prompts: Sequence[Prompt],
    conditions: Sequence[Condition],
    unsteered: NDArray[np.float64],
    steered: NDArray[np.float64],
) -> pd.DataFrame:
    """Rows of one contrast: log-probability of the correct and the wrong answer.

    Args:
        unsteered: [prompt, 2] correct and wrong, nats.
        steered: [prompt, condition, 2] likewise.
    """
    both = np.concatenate([unsteered[:, None], steered], axis=1)
    return cost_rows(
        [prompt.id for prompt in prompts],
        prompts[0].contrast,
        conditions,
        both[..., 0],
        logprob_wrong=both[..., 1],
    )
