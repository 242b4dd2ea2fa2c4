"""How vectors converge over the draws, summed up."""

import pandas as pd

from steerpaper.stats import Interval
from steerpaper.steering.tables.rows import labelled

COLUMNS = ["layer", "what", "against", "items", "draws", "cosine", "low", "high"]


def convergence_table(draws: pd.DataFrame, *, interval: Interval) -> pd.DataFrame:
    """Mean cosine over the draws, and the range that the central share of them lies in.

    Args:
        draws: contrast, layer, what, against, items, draw, cosine.

    Returns:
        contrast, layer, what, against, items, draws, cosine, low, high.
    """
    tail = (1 - interval.confidence) / 2
    tables = []
    for contrast, of_contrast in draws.groupby("contrast", sort=False):
        cosine = of_contrast.groupby(["what", "against", "items", "layer"], sort=False)["cosine"]
        table = cosine.agg(["size", "mean"])
        table["low"], table["high"] = cosine.quantile(tail), cosine.quantile(1 - tail)
        table = table.rename(columns={"size": "draws", "mean": "cosine"}).reset_index()
        tables.append(labelled(table[COLUMNS], contrast=str(contrast)))
    return pd.concat(tables, ignore_index=True)
