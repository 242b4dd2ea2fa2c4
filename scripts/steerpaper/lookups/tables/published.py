"""The paper's figures and ours."""

import pandas as pd


def beside_published(
    published: pd.DataFrame, explanations: pd.DataFrame, ablations: pd.DataFrame, model: str
) -> pd.DataFrame:
    """The paper's figures and ours, one a row.

    Args:
        published: quantity, neurons, model, value, sd, p.
        explanations, ablations: the summaries.

    Returns:
        quantity, neurons, model, source (published or ours), n, value, sd, p.
    """
    scores = [
        {
            "quantity": "head explanation score",
            "neurons": row["neurons"],
            "n": row["scored"],
            "value": row["mean"],
            "sd": row["sd"],
        }
        for row in explanations.to_dict("records")
    ]
    heads = ablations[(ablations["ablated"] == "head") & (ablations["measure"] == "probability")]
    tests = [
        {
            "quantity": "head ablation KS statistic",
            "neurons": row["neurons"],
            "n": row["n_active"] + row["n_inactive"],
            "value": row["ks_statistic"],
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
