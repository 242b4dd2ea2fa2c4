"""The paper's figures and ours."""

import csv
import io
import math
from pathlib import Path

import pandas as pd

from steerpaper.errors import UserError
from steerpaper.reading import read_text, shown

WORDS = ("quantity", "neurons", "model")
NUMBERS = ("value", "sd", "p")


def read_published(path: str | Path) -> pd.DataFrame:
    """Read what a paper printed: quantity, neurons, model, value, and sd and p where it has them.

    Raises:
        UserError: names the file and line of what is missing or no number.
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    columns = [*WORDS, *NUMBERS]
    found = []
    try:
        if next(rows, []) != columns:
            raise UserError(f"{path}, line 1: expected the columns {', '.join(columns)}")
        for row in filter(None, rows):
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(columns) or not all(row[: len(WORDS) + 1]):
                raise UserError(
                    f"{where}: {len(row)} cells; expected {len(columns)}, filled up to the value"
                )
            numbers = [_number(cell, where) for cell in row[len(WORDS) :]]
            found.append([*row[: len(WORDS)], *numbers])
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: not CSV: {error}") from error
    return pd.DataFrame(found, columns=columns)


def _number(cell: str, where: str) -> float:
    """A cell as a number; NaN for an empty one."""
    try:
        number = float(cell or "nan")
    except ValueError:
        number = math.inf
    if cell and not math.isfinite(number):
        raise UserError(f"{where}: {shown(cell)} is no number")
    return number


def beside_published(
    published: pd.DataFrame, explanations: pd.DataFrame, ablations: pd.DataFrame, model: str
) -> pd.DataFrame:
    """The paper's figures and ours, one a row: the same statistics on the same units.

    That is the mean over heads of their explanation scores, and the Kolmogorov-Smirnov statistic of
    one mean drop a neuron-head pair and class.

    Args:
        published: quantity, neurons, model, value, sd, p.
        explanations, ablations: the summaries.

    Returns:
        quantity, neurons, model, source (published or ours), n (heads with a score; neuron-head
        pairs with test prompts), value, sd, p.
    """
    scores = [
        {
            "quantity": "head explanation score",
            "neurons": row["neurons"],
            "n": row["scored"],
            "value": row["mean"],
            # the authors' is that of the heads they have, not of a sample (7_results, cell 10)
            "sd": row["sd"] * math.sqrt(1 - 1 / row["scored"]) if row["scored"] else math.nan,
        }
        for row in explanations.to_dict("records")
    ]
    heads = ablations[(ablations["ablated"] == "head") & (ablations["measure"] == "probability")]
    tests = [
        {
            "quantity": "head ablation KS statistic",
            "neurons": row["neurons"],
            "n": row["ks_n"],
            "value": row["ks"],
            "p": row["ks_p"],
        }
        for row in heads.to_dict("records")
    ]
    ours = pd.DataFrame([*scores, *tests]).assign(model=model, source="ours")
    table = pd.concat([published.assign(source="published"), ours], ignore_index=True)
    table["n"] = table["n"].astype("Int64")
    columns = ["quantity", "neurons", "model", "source", "n", "value", "sd", "p"]
    return table.sort_values(
        ["quantity", "source", "neurons"], ascending=[False, False, True], kind="stable"
    )[columns]
