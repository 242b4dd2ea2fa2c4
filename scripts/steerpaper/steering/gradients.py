"""The gradients of a behaviour's items, as a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.finite import finite
from steerpaper.workflow.files import write_tensors


def write_gradients(
    path: str | Path,
    prompts: Mapping[str, Sequence[Mapping[str, Any]]],
    gradients: Mapping[str, NDArray[np.float64]],
    metadata: Mapping[str, Any],
) -> None:
    """Write float32 [item, L, d] per split, in the prompt files' order, with the prompts' ids.

    Args:
        prompts: per split, the rows of its prompt file.
        gradients: per split, [item, L, d] (see `engine.gradients.item_gradients`).
        metadata: what is said beside, JSON; `prompts` is added: per split, the ids of the rows.

    Raises:
        UserError: a gradient that is not finite (see `finite`).
    """
    with np.errstate(over="ignore"):  # told below
        tensors = {split: found.astype(np.float32) for split, found in gradients.items()}
    for split, found in tensors.items():
        finite(path, _sizes(prompts[split], found), ["gradient"])
    ids = {split: [row["id"] for row in rows] for split, rows in prompts.items()}
    write_tensors(path, tensors, {**metadata, "prompts": ids})


def _sizes(rows: Sequence[Mapping[str, Any]], found: NDArray[np.float32]) -> pd.DataFrame:
    """Every item's and block's largest number: what says where one is not finite."""
    items, blocks = found.shape[:2]
    columns = {
        key: np.repeat([row[key] for row in rows], blocks) for key in ("behavior", "contrast")
    }
    columns["prompt_id"] = np.repeat([row["id"] for row in rows], blocks)
    columns["layer"] = np.tile(np.arange(blocks), items)
    return pd.DataFrame(columns | {"gradient": np.abs(found).max(axis=2).ravel()})
