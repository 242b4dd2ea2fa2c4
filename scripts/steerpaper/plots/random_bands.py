"""What random directions do beside what is drawn: how far, and between what."""

import pandas as pd

from steerpaper.plots.style import words
from steerpaper.steering.conditions import WITHOUT


def random_reach(first_order: pd.DataFrame, table: pd.DataFrame) -> dict[str, float]:
    """By behaviour, how far multiplier 1 of a random direction moves the test items' mean.

    To first order, at the chosen block of the leading contrast; of blocks that are steered together
    each has a direction of its own. Empty where another measure than the logit difference is shown.

    Args:
        first_order: behavior, contrast, split, chosen, random_low, random_high; the leading
            contrast's rows come first.
        table: the one that is drawn.
    """
    if words(table)[0] != "logit_diff":
        return {}
    rows = first_order[(first_order["split"] == "test") & first_order["chosen"].astype(bool)]
    rows = rows[rows["contrast"] == first_order["contrast"].iloc[0]]
    wide = rows.assign(reach=(rows["random_high"] - rows["random_low"]) / 2)
    squares = wide.assign(reach=wide["reach"] ** 2).groupby("behavior")["reach"].sum()
    return {str(name): float(value) ** 0.5 for name, value in squares.items()}


def without_prompt(table: pd.DataFrame) -> str:
    """What runs without a system prompt are called in a table."""
    return next(iter(sorted({*table["system_prompt"]} & {*WITHOUT})), WITHOUT[0])


def around_unsteered(table: pd.DataFrame, reach: dict[str, float]) -> pd.DataFrame:
    """A table by system prompt with the band of random directions: control_low, control_high.

    It lies around what a behaviour's items have unsteered and without a system prompt, and is known
    of the rows without one.

    Args:
        table: behavior, system_prompt, multiplier and the measure.
        reach: of `random_reach`, by behaviour.
    """
    measure = words(table)[0]
    plain = table[table["system_prompt"] == without_prompt(table)]
    base = plain[plain["multiplier"] == 0].set_index("behavior")[measure]
    far = plain["behavior"].map(reach).astype(float) * plain["multiplier"].abs()
    middle = plain["behavior"].map(base)
    return table.assign(control_low=middle - far, control_high=middle + far)
