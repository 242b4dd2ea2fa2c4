"""Which texts are longer than a model was trained at before its positions were stretched."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from steerpaper.engine.model import LanguageModel


def beyond(lm: LanguageModel, lengths: Iterable[int]) -> list[bool]:
    """Which sequences are longer than the positions that were not stretched, by their tokens."""
    original = lm.stretch.original if lm.stretch else math.inf
    return [length > original for length in lengths]


def with_beyond(table: pd.DataFrame, lm: LanguageModel, lengths: Sequence[int]) -> pd.DataFrame:
    """A table with `beyond_scaling`, which a model whose positions are not stretched needs not.

    Args:
        table: equally many rows of each sequence, one sequence after the other.
        lengths: of the sequences, in tokens.
    """
    if lm.stretch is None or table.empty:
        return table
    rows = len(table) // len(lengths)
    return table.assign(beyond_scaling=np.repeat(beyond(lm, lengths), rows))
