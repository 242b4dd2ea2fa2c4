"""Scores of prompts under steering, as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steerpaper.engine.condition import Condition
from steerpaper.engine.intervene import Vectors
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.score import score
from steerpaper.engine.text import choices
from steerpaper.finite import finite
from steerpaper.steering.beyond import beyond
from steerpaper.steering.conditions import score_rows
from steerpaper.steering.vectors import Floats
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
    """One row per prompt and condition, the unsteered run first: `score_rows` and `with_norms`.

    Beside them `beyond_scaling`: is the prompt with its answer longer than the positions that the
    model was trained at before they were stretched?

    Args:
        prompts: rows of a prompt file.
        vectors: float [L, d] for every direction that a condition names.
        budget: tokens a forward pass may hold.
    """
    asked = choices(prompts)
    unsteered, steered = score(lm, asked, vectors, wanted, budget=budget)
    table = score_rows(prompts, wanted, unsteered, steered)
    table["beyond_scaling"] = np.repeat(beyond(lm, [one.length for one in asked]), 1 + len(wanted))
    return with_norms(table, vectors, wanted)


def norm_at(vector: Floats, layers: Sequence[int]) -> float:
    """Norm of what multiplier 1 adds at all of some blocks together."""
    return float(np.linalg.norm(vector[list(layers)].astype(np.float64)))


def with_norms(table: pd.DataFrame, vectors: Vectors, wanted: Sequence[Condition]) -> pd.DataFrame:
    """A table of scores with the norm of what multiplier 1 adds; not-a-number unsteered.

    Args:
        table: direction, layers.
    """
    norms = {
        (one.direction, one.label): norm_at(vectors[one.direction], one.layers) for one in wanted
    }
    steered = zip(table["direction"], table["layers"], strict=True)
    return table.assign(norm=[norms.get(key, np.nan) for key in steered])


def with_shares(table: pd.DataFrame, residual: Floats, wanted: Sequence[Condition]) -> pd.DataFrame:
    """A table of scores with `norm_share`: `norm` as a share of the residual stream's norm there.

    Args:
        table: layers, norm.
        residual: [L] (see `vectors.residual_norms`).
    """
    norms = {one.label: float(np.linalg.norm(residual[list(one.layers)])) for one in wanted}
    return table.assign(norm_share=table["norm"] / table["layers"].map(norms))


def write_scores(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table of scores; a row that stands for prompts that could not be had needs none.

    Raises:
        UserError: a log-probability that is not finite (see `finite`).
    """
    scored = table[table["prompt_id"].notna()] if "prompt_id" in table else table.iloc[:0]
    finite(path, scored, LOGPROBS if len(scored) else ())
    write_table(path, table)
