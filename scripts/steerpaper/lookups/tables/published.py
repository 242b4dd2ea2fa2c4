"""The paper's figures and ours."""

import math
from pathlib import Path

import pandas as pd

from steerpaper.published.numbers import read_numbers

# of the published numbers those that stand beside ours, and the p of a test that is a number too
NAMES = {
    "explanation_score": "head explanation score",
    "ablation_ks": "head ablation KS statistic",
}
P_OF = {"ablation_ks": "ablation_ks_p"}


def read_published(path: str | Path) -> pd.DataFrame:
    """What the paper printed of neurons of a kind: quantity, neurons, model, value, sd, p.

    A run that the paper did not print, or another choice of blocks, is told by a further key of the
    number's setting, and is left out.

    Raises:
        UserError: names the file and line of what is missing or no number.
    """
    numbers = [one for one in read_numbers(path) if {*one.setting} == {"neurons"}]
    values = {(one.quantity, one.model, one.written): one.value for one in numbers}
    rows = [
        {
            "quantity": NAMES[one.quantity],
            "neurons": one.setting["neurons"],
            "model": one.model,
            "value": one.value,
            "sd": one.sd,
            "p": values.get((P_OF.get(one.quantity, ""), one.model, one.written)),
        }
        for one in numbers
        if one.quantity in NAMES
    ]
    columns = ["quantity", "neurons", "model", "value", "sd", "p"]
    return pd.DataFrame(rows, columns=columns).astype({"value": float, "sd": float, "p": float})


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
