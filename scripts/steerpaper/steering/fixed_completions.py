"""Fixed completions: what the unsteered model says, and how steering changes how likely it is.

The completions are sampled once and then fixed, so that every condition is measured on the same
texts, by the log-probability of the whole text (Panickssery et al. 2023 measure the letter alone).
Letters are asked for in two forms: behind a bracket that is prefilled, and free, where it is not
sure that the next token is a letter.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steerpaper.engine.condition import Condition
from steerpaper.steering.conditions import condition_rows
from steerpaper.steering.labels import LABELS, label_by_letter, label_by_markers
from steerpaper.steering.letters import LETTERS, letter_of, shown_letters

log = logging.getLogger(__name__)

COMPLETION = [
    *("behavior", "contrast", "form", "prompt_id", "side"),
    *("completion_id", "label", "count"),
]
FORMS = PREFILLED, FREE = ("prefilled", "free")
# tokens in which a letter is looked for
LETTER_WITHIN = 10


def forms(prompt: Mapping[str, Any]) -> dict[str, list[int]]:
    """A prompt's token ids by form: behind a prefilled bracket, and without it.

    Answers' texts, and letters whose bracket is of their own token, are free alone.
    """
    if prompt["free_ids"] is None:
        return {FREE: prompt["ids"]}
    return {PREFILLED: prompt["ids"], FREE: prompt["free_ids"]}


def prefilled(prompt: Mapping[str, Any], form: str) -> int:
    """How many of a form's tokens (see `forms`) stand behind the user's turn."""
    return 0 if form == FREE and prompt["free_ids"] is not None else int(prompt["n_prefilled"])


def tally(sequences: Iterable[Sequence[int]]) -> list[tuple[tuple[int, ...], int]]:
    """Different sequences, in the order of their first appearance, and how often each appears."""
    return list(Counter(map(tuple, sequences)).items())


def completion_rows(
    tokenizer: Any,
    prompt: Mapping[str, Any],
    form: str,
    sequences: Iterable[Sequence[int]],
    about: Mapping[str, Any],
    *,
    ends: frozenset[int],
    seed: int,
) -> list[dict[str, Any]]:
    """A prompt's different completions, one a row: labelled, counted, as ids and as text.

    Args:
        prompt: a row of a prompt file.
        form: of `FORMS`.
        about: `markers`, the behaviour's words for either side, and `negators` (see
            `label_by_markers`).
        ends: the token ids that end a completion.
    """
    side, pair = prompt["side"], ("", "")
    if prompt["contrast"] == "letters":
        pair = letter_of(prompt["matching"]), letter_of(prompt["other"])
        # of another pair of letters A is not the one that B is not
        side = side if set(pair) == set(LETTERS) else None
    rows = []
    for completion, (ids, count) in enumerate(tally(sequences)):
        text = tokenizer.decode(ids, skip_special_tokens=True)
        finished = ids[-1] in ends
        if prompt["contrast"] == "letters":
            head = tokenizer.decode(ids[:LETTER_WITHIN], skip_special_tokens=True)
            letters = shown_letters(prompt["question"], pair)
            label = label_by_letter(head, pair, letters, prefilled=form == PREFILLED)
        else:
            label = label_by_markers(
                text, about["markers"], finished=finished, negators=about["negators"]
            )
        rows.append(
            {
                "behavior": prompt["behavior"],
                "contrast": prompt["contrast"],
                "form": form,
                "prompt_id": prompt["id"],
                "side": side,
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


def say_labels(name: str, completions: pd.DataFrame) -> None:
    """Log how many completions have each label, and what has no number for want of them."""
    counts = completions.groupby("label")["count"].sum().reindex(LABELS, fill_value=0)
    log.info("%s: completions labelled %s", name, counts.to_dict())
    missing = [label for label in LABELS[:2] if not counts[label]]
    if missing:
        log.warning(
            "%s: no completion is labelled %s, so its mean change has no number; more samples, "
            "longer completions or other markers may find some",
            name,
            " or ".join(missing),
        )


def logprob_rows(
    completions: pd.DataFrame, conditions: Sequence[Condition], logprobs: NDArray[np.float64]
) -> pd.DataFrame:
    """One row per completion and condition, the unsteered run first.

    Args:
        completions: the columns `COMPLETION`.
        logprobs: [completion, 1 + condition], nats; the unsteered run first.
    """
    items = {name: completions[name].to_list() for name in COMPLETION}
    values = {"logprob": logprobs, "change": logprobs - logprobs[:, :1]}
    return condition_rows(items, conditions, values)
