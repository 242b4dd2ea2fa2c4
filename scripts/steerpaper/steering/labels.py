"""Which side a completion is on: by its letter, or by the behaviour's markers."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from steerpaper.stats import clustered_bootstrap_mean

MATCHING, OTHER, NEITHER = LABELS = ("matching", "other", "neither")

# the letter at the very beginning (the prompt ends with an opening bracket), or later in brackets
# or before a bracket, full stop or colon: the article in "A good day" is none
_LETTER = re.compile(r"^\s*([AB])\b|\(([AB])\)|\b([AB])[).:]")
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def label_by_letter(text: str, matching: str) -> str:
    """Label a completion by the first letter A or B that it answers with.

    Args:
        text: the completion's first tokens as text.
        matching: the letter of the matching choice.
    """
    found = _LETTER.search(text)
    if not found:
        return NEITHER
    letter = next(group for group in found.groups() if group)
    return MATCHING if letter == matching else OTHER


def label_by_markers(text: str, markers: Mapping[str, Sequence[str]], *, finished: bool) -> str:
    """Label a completion by which side's markers it holds more of; neither where they are equal.

    Args:
        markers: words under `matching` and `other`; each counts as often as it occurs.
        finished: the completion ended by itself; otherwise a word at its very end may be cut off
            ("hope" of "hopeless") and does not count.
    """
    words = list(_WORD.finditer(text.lower()))
    if words and not finished and words[-1].end() == len(text):
        words.pop()
    said = [word.group() for word in words]
    counts = {
        side: sum(said.count(marker.lower()) for marker in set(markers.get(side, ())))
        for side in (MATCHING, OTHER)
    }
    if counts[MATCHING] == counts[OTHER]:
        return NEITHER
    return max(counts, key=lambda side: counts[side])


def label_shares(
    samples: pd.DataFrame,
    markers: Mapping[str, Sequence[str]],
    *,
    seed: int,
    resamples: int,
    confidence: float,
) -> pd.DataFrame:
    """Share of a behaviour's steered completions on either side, by multiplier and decoding.

    Decoding is `greedy`, `single seed` (the first sample of every prompt) or `average` (all its
    samples). Intervals draw whole prompts; from a single prompt there is none.

    Args:
        samples: prompt_id, layer, multiplier, decoding, sample, text.

    Returns:
        layer, multiplier, decoding, n_prompts, n, and the shares matching and other and their
        difference, each with _low and _high.
    """
    labels = [label_by_markers(text, markers, finished=False) for text in samples["text"]]
    sides = np.array([[label == MATCHING, label == OTHER] for label in labels], dtype=float)
    table = samples.assign(matching=sides[:, 0], other=sides[:, 1])
    table["difference"] = table["matching"] - table["other"]
    drawn = table["decoding"] == "sample"
    parts = {
        "greedy": table[~drawn],
        "single seed": table[drawn & (table["sample"] == 0)],
        "average": table[drawn],
    }
    names = [MATCHING, OTHER, "difference"]
    rows = []
    for decoding, part in parts.items():
        for (layer, multiplier), group in part.groupby(["layer", "multiplier"]):
            found = clustered_bootstrap_mean(
                group[names].to_numpy(),
                group["prompt_id"].to_numpy(),
                seed=seed,
                resamples=resamples,
                confidence=confidence,
            )
            n_prompts = group["prompt_id"].nunique()
            row = {
                "layer": layer,
                "multiplier": multiplier,
                "decoding": decoding,
                "n_prompts": n_prompts,
                "n": len(group),
            }
            for ending, values in zip(("", "_low", "_high"), found, strict=True):
                known = n_prompts > 1 or not ending
                for name, value in zip(names, values, strict=True):
                    row[name + ending] = float(value) if known else np.nan
            rows.append(row)
    return pd.DataFrame(rows).sort_values(
        ["multiplier", "decoding"], ignore_index=True, kind="stable"
    )
