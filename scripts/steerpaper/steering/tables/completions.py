"""Sampled completions, side by side and by the side they are on."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from steerpaper.flags import few, joined, unparsed
from steerpaper.stats import Interval, share_difference_interval, share_interval
from steerpaper.steering.labels import MATCHING, OTHER, label_by_markers
from steerpaper.steering.tables.flags import beyond_flags, block_flags
from steerpaper.steering.tables.page import completions_page


def completions_tables(
    samples: Mapping[str, pd.DataFrame], prompts: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, pd.DataFrame | str]:
    """The sampled completions of all behaviours side by side: a table, and a page for a person.

    Args:
        samples: by behaviour: prompt_id, layer, multiplier, decoding, sample, seed, text.
        prompts: by behaviour, its open questions.
    """
    tables = []
    for behavior, table in samples.items():
        questions = {prompt["id"]: prompt["question"] for prompt in prompts[behavior]}
        table = table.copy()
        table.insert(0, "question", table["prompt_id"].map(questions))
        table.insert(0, "behavior", behavior)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    return {"completions": table, "completions.md": completions_page(table)}


def label_shares(
    samples: pd.DataFrame,
    about: Mapping[str, Any],
    block: Mapping[str, Any],
    *,
    interval: Interval,
) -> pd.DataFrame:
    """Share of a behaviour's steered completions on either side, by multiplier and decoding.

    Decoding is `greedy`, `single seed` (the first sample of every prompt) or `average` (all its
    samples). Intervals take a prompt's completions together; below 5 prompts there is none.

    Args:
        samples: prompt_id, layer, multiplier, decoding, sample, text.
        about: `markers`, the behaviour's words for either side, and `negators`.
        block: of `choose.best_block`, of the vector that steers.

    Returns:
        layer, multiplier, decoding, n_prompts, n, and the shares matching and other and their
        difference, each with _low and _high; flags.
    """
    table = samples.assign(label=labels_by_markers(samples, about))
    # markers label everything
    return shares_of_labels(table, block, interval).drop(columns="unparsed")


def labels_by_markers(samples: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    """The side of every completion, as `label_shares` takes them, by the behaviour's markers."""
    return [
        label_by_markers(text, about["markers"], finished=False, negators=about["negators"])
        for text in samples["text"]
    ]


def shares_of_labels(
    labelled: pd.DataFrame, block: Mapping[str, Any], interval: Interval
) -> pd.DataFrame:
    """Shares of completions on either side, as `label_shares` has them, by any labels.

    Args:
        labelled: prompt_id, layer, multiplier, decoding, sample, label (missing where none is).
        block: as in `label_shares`.

    Returns:
        its columns, and before the flags `unparsed`: how many completions have no label; they are
        left out of the shares.
    """
    table = labelled.assign(
        **{side: (labelled["label"] == side).astype(float) for side in (MATCHING, OTHER)}
    )
    table["difference"] = table["matching"] - table["other"]
    drawn = table["decoding"] == "sample"
    parts = {
        "greedy": table[~drawn],
        "single seed": table[drawn & (table["sample"] == 0)],
        "average": table[drawn],
    }
    rows = [
        {**dict(zip(("layer", "multiplier"), key, strict=True)), "decoding": decoding}
        | _shares(group, block if key[1] else {}, interval)
        for decoding, part in parts.items()
        for key, group in part.groupby(["layer", "multiplier"])
    ]
    return pd.DataFrame(rows).sort_values(
        ["multiplier", "decoding"], ignore_index=True, kind="stable"
    )


def _shares(group: pd.DataFrame, block: Mapping[str, Any], interval: Interval) -> dict[str, Any]:
    """One row; the block is empty of the unsteered run."""
    known = group.dropna(subset=["label"])
    prompts = known["prompt_id"].to_numpy()
    row: dict[str, Any] = {"n_prompts": known["prompt_id"].nunique(), "n": len(known)}
    for name, of_share in (
        (MATCHING, share_interval),
        (OTHER, share_interval),
        ("difference", share_difference_interval),
    ):
        found = of_share(known[name].to_numpy(), interval, prompts)
        for ending, value in zip(("", "_low", "_high"), found, strict=True):
            row[name + ending] = float(value)
    row["unparsed"] = len(group) - len(known)
    doubtful = [*few(row["n_prompts"]), *unparsed(row["unparsed"], len(group))]
    row["flags"] = joined(*doubtful, *beyond_flags(known), *block_flags(block))
    return row
