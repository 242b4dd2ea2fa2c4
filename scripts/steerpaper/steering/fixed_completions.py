"""Fixed completions: what the unsteered model says, and how steering changes how likely it is.

The completions are sampled once and then fixed, so that every condition is measured on the same
texts, by the log-probability of the whole text (Panickssery et al. 2023 measure the letter alone).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.engine.condition import Condition
from steerpaper.steering.conditions import condition_rows
from steerpaper.steering.labels import label_by_letter, label_by_markers

COMPLETION = ["behavior", "contrast", "prompt_id", "completion_id", "label", "count"]
# tokens in which a letter is looked for
LETTER_WITHIN = 10


def tally(sequences: Iterable[Sequence[int]]) -> list[tuple[tuple[int, ...], int]]:
    """Different sequences, in the order of their first appearance, and how often each appears."""
    return list(Counter(map(tuple, sequences)).items())


def completion_rows(
    tokenizer: Any,
    prompt: Mapping[str, Any],
    sequences: Iterable[Sequence[int]],
    markers: Mapping[str, Sequence[str]],
    *,
    ends: frozenset[int],
    seed: int,
) -> list[dict[str, Any]]:
    """A prompt's different completions, one a row: labelled, counted, as ids and as text.

    Args:
        prompt: a row of a prompt file.
        markers: the behaviour's words for either side (see `label_by_markers`).
        ends: the token ids that end a completion.
    """
    rows = []
    for completion, (ids, count) in enumerate(tally(sequences)):
        text = tokenizer.decode(ids, skip_special_tokens=True)
        finished = ids[-1] in ends
        if prompt["contrast"] == "letters":
            head = tokenizer.decode(ids[:LETTER_WITHIN], skip_special_tokens=True)
            label = label_by_letter(head, prompt["side"])
        else:
            label = label_by_markers(text, markers, finished=finished)
        rows.append(
            {
                "behavior": prompt["behavior"],
                "contrast": prompt["contrast"],
                "prompt_id": prompt["id"],
                "completion_id": completion,
                "count": count,
                "label": label,
                "finished": finished,
                "ids": list(ids),
                "text": text,
                "seed": seed,
            }
        )
    return rows


def logprob_rows(
    completions: pd.DataFrame, conditions: Sequence[Condition], logprobs: NDArray[np.float64]
) -> pd.DataFrame:
    """One row per completion and condition, the unsteered run first.

    Args:
        completions: behavior, contrast, prompt_id, completion_id, label, count.
        logprobs: [completion, 1 + condition], nats; the unsteered run first.
    """
    items = {name: completions[name].to_list() for name in COMPLETION}
    values = {"logprob": logprobs, "change": logprobs - logprobs[:, :1]}
    return condition_rows(items, conditions, values)
