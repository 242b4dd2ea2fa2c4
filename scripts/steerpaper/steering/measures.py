"""Measures: what is read from the log-probabilities of an item's two continuations.

Every table of scores holds logprob_matching and logprob_other (nats, each the sum over the
continuation's tokens) and n_matching and n_other (their tokens); a measure is one number a row of
these. A new measure is one entry here; `statistics.measures` names those that tables hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

# the workflow asks for names on every start, and pandas takes half a second
if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Measure:
    """A number that steering moves.

    Attributes:
        unit: in which it is given.
        title: as axes call it.
        text: as captions say what the score is.
        of: from a table of scores to [row].
    """

    unit: str
    title: str
    text: str
    of: "Callable[[pd.DataFrame], NDArray[np.float64]]"


def logit_diff(scores: "pd.DataFrame") -> NDArray[np.float64]:
    """log p(matching) - log p(other); for letters the logits' difference exactly."""
    difference: NDArray[np.float64] = (
        scores["logprob_matching"].to_numpy(dtype=float) - scores["logprob_other"].to_numpy()
    )
    return difference


def p_matching(scores: "pd.DataFrame") -> NDArray[np.float64]:
    """p(matching) / (p(matching) + p(other)): Panickssery et al. 2023, section 4."""
    share: NDArray[np.float64] = 1 / (1 + np.exp(-logit_diff(scores)))
    return share


def logprob_matching(scores: "pd.DataFrame") -> NDArray[np.float64]:
    """log p(matching) alone: whether the matching answer gains, or the other one loses."""
    return scores["logprob_matching"].to_numpy(dtype=float)


def logit_diff_per_token(scores: "pd.DataFrame") -> NDArray[np.float64]:
    """Difference of the mean log-probability a token, for answers of unlike length."""
    matching, other = (
        scores[f"logprob_{side}"].to_numpy(dtype=float) / scores[f"n_{side}"].to_numpy(dtype=float)
        for side in ("matching", "other")
    )
    difference: NDArray[np.float64] = matching - other
    return difference


# by the name that statistics.measures and the tables' column `measure` have
MEASURES: Mapping[str, Measure] = {
    "logit_diff": Measure(
        "nats",
        "logit difference",
        "log p(matching answer) − log p(other answer), in nats",
        logit_diff,
    ),
    "p_matching": Measure(
        "share",
        "p(matching)",
        "p(matching answer) as a share of p(matching answer) + p(other answer)",
        p_matching,
    ),
    "logprob_matching": Measure(
        "nats", "log p(matching)", "log p(matching answer), in nats", logprob_matching
    ),
    "logit_diff_per_token": Measure(
        "nats per token",
        "logit difference per token",
        "log p(matching answer) − log p(other answer), each per token of the answer, in nats",
        logit_diff_per_token,
    ),
}
