"""Scores of prompts under steering, as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from steerpaper.engine.condition import Condition
from steerpaper.engine.intervene import Vectors
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.score import score
from steerpaper.engine.text import choices
from steerpaper.finite import finite
from steerpaper.steering.conditions import score_rows
from steerpaper.workflow.files import write_table

LOGPROBS = ("logprob_matching", "logprob_other")


def score_prompts(
    lm: LanguageModel,
    prompts: Sequence[Mapping[str, Any]],
    vectors: Vectors,
    wanted: Sequence[Condition],
    *,
    budget: int,
) -> pd.DataFrame:
    """One row per prompt and condition, the unsteered run first (see `score_rows`).

    Args:
        prompts: rows of a prompt file.
        vectors: float [L, d] for every direction that a condition names.
        budget: tokens a forward pass may hold.
    """
    unsteered, steered = score(lm, choices(prompts), vectors, wanted, budget=budget)
    return score_rows(prompts, wanted, unsteered, steered)


def write_scores(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table of scores; a row that stands for prompts that could not be had needs none.

    Raises:
        UserError: a log-probability that is not finite (see `finite`).
    """
    scored = table[table["prompt_id"].notna()] if "prompt_id" in table else table.iloc[:0]
    finite(path, scored, LOGPROBS if len(scored) else ())
    write_table(path, table)
