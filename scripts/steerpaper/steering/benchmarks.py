"""Benchmarks under steering: the log-probabilities of a question's choices, any number of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.engine.condition import Condition
from steerpaper.engine.intervene import Vectors
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.score import score_completions
from steerpaper.progress import progress
from steerpaper.steering.conditions import condition_rows

COLUMNS = ["contrast", "category", "item", "choices", "layer", "layers", "direction", "multiplier"]
NUMBERS = ["logprob", "logprob_wrong", "p_correct", "mass"]


def score_choices(
    lm: LanguageModel,
    prompts: Sequence[Mapping[str, Any]],
    vectors: Vectors,
    conditions: Sequence[Condition],
    *,
    budget: int,
) -> list[NDArray[np.float64]]:
    """Log-probability of every choice, the sum over its tokens, unsteered and steered.

    A question's choices are continuations of one prompt, whose keys and values are computed once;
    letters share one row of the last pass.

    Args:
        prompts: id, ids, continuation_ids, n_prefilled.

    Returns:
        per prompt float64 [choice, 1 + condition] in nats, the unsteered run first.
    """
    wanted = [(n, ids) for n, prompt in enumerate(prompts) for ids in prompt["continuation_ids"]]
    found = np.zeros((len(wanted), 1 + len(conditions)))
    batches = score_completions(
        lm,
        [prompt["ids"] for prompt in prompts],
        wanted,
        vectors,
        conditions,
        budget=budget,
        names=[prompt["id"] for prompt in prompts],
        prefilled=[prompt["n_prefilled"] for prompt in prompts],
    )
    for numbers, values in progress(batches, len(wanted), "choices"):
        found[numbers] = values
    ends = np.cumsum([len(prompt["continuation_ids"]) for prompt in prompts])
    return np.split(found, ends[:-1])


def longest(prompt: Mapping[str, Any]) -> int:
    """Tokens of a question with its longest choice."""
    return len(prompt["ids"]) + max(map(len, prompt["continuation_ids"]))


def benchmark_rows(
    prompts: Sequence[Mapping[str, Any]],
    conditions: Sequence[Condition],
    scores: Sequence[NDArray[np.float64]],
) -> pd.DataFrame:
    """One row per question and condition, the unsteered run first.

    Args:
        prompts: id, contrast, category, correct.
        scores: per prompt [choice, 1 + condition], nats.

    Returns:
        contrast, category, item, choices (how many), layer, layers, direction, multiplier; logprob
        of the correct choice and logprob_wrong, the likeliest other's (nats); p_correct, the
        correct one's share of all choices' probability; mass, that probability of all (letters:
        how far the model plays the game; not-a-number by answers).
    """
    correct, wrong, share, mass = [], [], [], []
    for prompt, logprobs in zip(prompts, scores, strict=True):
        right = logprobs[prompt["correct"]]
        together = np.logaddexp.reduce(logprobs, axis=0)
        correct.append(right)
        wrong.append(np.delete(logprobs, prompt["correct"], axis=0).max(axis=0))
        share.append(np.exp(right - together))
        letters = prompt["contrast"] == "letters"
        mass.append(np.exp(together) if letters else np.full(len(right), np.nan))
    items = {
        "contrast": [prompt["contrast"] for prompt in prompts],
        "category": [prompt["category"] for prompt in prompts],
        "item": [prompt["id"] for prompt in prompts],
        "choices": [len(logprobs) for logprobs in scores],
    }
    values = dict(zip(NUMBERS, map(np.array, (correct, wrong, share, mass)), strict=True))
    return condition_rows(items, conditions, values)[[*COLUMNS, *NUMBERS]]
