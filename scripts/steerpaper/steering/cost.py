"""The cost of steering: how well the model still predicts neutral text and knows plain facts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.engine.condition import Condition
from steerpaper.engine.intervene import Vectors
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.score import score_completions
from steerpaper.steering.conditions import condition_rows

COLUMNS = ["contrast", "item", "layer", "layers", "direction", "multiplier", "logprob"]


def text_logprobs(
    lm: LanguageModel,
    texts: Sequence[Sequence[int]],
    vectors: Vectors,
    conditions: Sequence[Condition],
    budget: int,
) -> NDArray[np.float64]:
    """Log-probability of every text's tokens but the first, every token steered.

    Args:
        conditions: of positions `response`: with a text's first token as the prompt, that is
            every token.

    Returns:
        float64 [text, 1 + condition] in nats, the unsteered run first.
    """
    found = np.zeros((len(texts), 1 + len(conditions)))
    batches = score_completions(
        lm,
        [text[:1] for text in texts],
        [(number, text[1:]) for number, text in enumerate(texts)],
        vectors,
        conditions,
        budget=budget,
    )
    for numbers, values in batches:
        found[numbers] = values
    return found


def text_rows(
    texts: Sequence[Mapping[str, Any]],
    conditions: Sequence[Condition],
    logprob: NDArray[np.float64],
) -> pd.DataFrame:
    """One row per neutral text and condition, the unsteered run first.

    Args:
        texts: id, ids.
        logprob: [text, 1 + condition], nats.
    """
    items = {
        "contrast": ["text"] * len(texts),
        "item": [text["id"] for text in texts],
        # the first token of a text is not predicted
        "n_tokens": [len(text["ids"]) - 1 for text in texts],
    }
    table = condition_rows(items, conditions, {"logprob": logprob})
    return table[[*COLUMNS, "n_tokens"]]


def knowledge_rows(
    prompts: Sequence[Mapping[str, Any]],
    conditions: Sequence[Condition],
    unsteered: NDArray[np.float64],
    steered: NDArray[np.float64],
) -> pd.DataFrame:
    """Rows of one contrast: log-probability of the correct and the wrong answer.

    Args:
        prompts: id, contrast.
        unsteered: [prompt, 2] correct and wrong, nats.
        steered: [prompt, condition, 2] likewise.
    """
    both = np.concatenate([unsteered[:, None], steered], axis=1)
    items = {
        "contrast": [prompt["contrast"] for prompt in prompts],
        "item": [prompt["id"] for prompt in prompts],
    }
    values = {"logprob": both[..., 0], "logprob_wrong": both[..., 1]}
    return condition_rows(items, conditions, values)[[*COLUMNS, "logprob_wrong"]]
