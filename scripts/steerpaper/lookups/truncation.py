"""Truncation: the shortest suffix that still makes a neuron fire (Neo et al. 2024, section 3).

The suffix ends at the token where the neuron fires most and keeps a share (80% in the paper) of the
activation. It is searched by bisection, which supposes that longer suffixes fire more; that need
not hold, so a suffix is only ever taken after it was run and found to keep the share.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.batching import Ids, last_tokens, read_rows, run_rows
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.text import beginning
from steerpaper.progress import progress

Floats = NDArray[np.float32]

# how far above the bound a suffix must be, relative: room for rounding, so that a suffix kept in a
# batch satisfies the bound when it is run alone
ROUNDING = 1e-5


@dataclass(frozen=True)
class Firing:
    """A neuron and a prompt that it fires on.

    Attributes:
        ids: the prompt's tokens up to and with the one at which the neuron fires most.
        activation: the neuron's activation there, positive.
    """

    layer: int
    neuron: int
    ids: list[int]
    activation: float


def last_activations(
    lm: LanguageModel,
    neurons: Sequence[tuple[int, int]],
    rows: Sequence[Ids],
    *,
    bos: bool,
    budget: int,
) -> Floats:
    """A neuron's activation at the last token of its row: float32 [row].

    Rows of neurons of one block are run together, no further than that block.

    Args:
        neurons: per row, block and neuron.
        rows: token ids, without a beginning-of-sequence token.
    """
    found = np.zeros(len(rows), dtype=np.float32)
    start = beginning(lm.tokenizer, bos)
    for layer in sorted({layer for layer, _ in neurons}):
        mine = [row for row, (block, _) in enumerate(neurons) if block == layer]
        number = torch.tensor([neurons[row][1] for row in mine], device=lm.device)

        def look(
            items: list[int], ids: Tensor, mask: Tensor, layer: int = layer, number: Tensor = number
        ) -> Tensor:
            row, token = last_tokens(mask)
            site = (layer, "neurons")
            found = read_rows(lm, ids, mask, {site: lambda x: x[row, token, number[items]]})
            return found[site].float().cpu()

        batches = run_rows(lm, [rows[row] for row in mine], budget, look, start)
        for items, values in progress(batches, len(mine), f"truncation, block {layer}"):
            found[[mine[item] for item in items]] = values.numpy()
    return found


def bisect_lengths(
    lengths: Sequence[int],
    activations: Sequence[float],
    ratio: float,
    measure: Callable[[list[int], list[int]], Floats],
) -> tuple[NDArray[np.int64], Floats]:
    """Bisect many suffix lengths together, each level with one call of `measure`.

    Args:
        lengths: per pair, the whole prompt's length, whose activation is known.
        activations: per pair, that activation.
        ratio: share of it that a suffix must keep.
        measure: (pairs, lengths) -> the suffixes' activations.

    Returns:
        per pair, the length of the shortest suffix found that keeps the share, and its measured
        activation.
    """
    shortest = np.ones(len(lengths), dtype=np.int64)
    kept = np.array(lengths, dtype=np.int64)
    value = np.array(activations, dtype=np.float32)
    bound = ratio * np.array(activations, dtype=np.float64) * (1 + ROUNDING)
    while (open_pairs := np.flatnonzero(shortest < kept)).size:
        middle = (shortest + kept) // 2
        got = measure(open_pairs.tolist(), middle[open_pairs].tolist())
        enough = got >= bound[open_pairs]
        yes, no = open_pairs[enough], open_pairs[~enough]
        kept[yes], value[yes] = middle[yes], got[enough]
        shortest[no] = middle[no] + 1
    return kept, value


def truncate(
    lm: LanguageModel, pairs: Sequence[Firing], *, ratio: float, bos: bool, budget: int
) -> tuple[NDArray[np.int64], Floats]:
    """Per pair, how many of the prompt's last tokens are kept, and the activation on them alone."""

    def measure(which: list[int], lengths: list[int]) -> Floats:
        rows = [pairs[pair].ids[-length:] for pair, length in zip(which, lengths, strict=True)]
        neurons = [(pairs[pair].layer, pairs[pair].neuron) for pair in which]
        return last_activations(lm, neurons, rows, bos=bos, budget=budget)

    lengths = [len(pair.ids) for pair in pairs]
    return bisect_lengths(lengths, [pair.activation for pair in pairs], ratio, measure)


def truncated_table(
    tokenizer: Any,
    top: pd.DataFrame,
    ids: dict[str, list[int]],
    lengths: NDArray[np.int64],
    activations: Floats,
) -> pd.DataFrame:
    """The top table with the tokens [start, end) that are kept, both activations, and the text.

    Args:
        top: layer, neuron, split, rank, prompt_id, position, activation.
        ids: token ids by prompt id.
        lengths: per row, tokens kept.
        activations: per row, the activation on them alone.
    """
    table = top.drop(columns=["position", "activation"])
    end = top["position"].to_numpy() + 1
    table["start"], table["end"] = end - lengths, end
    table["activation"], table["truncated_activation"] = top["activation"], activations
    spans = zip(table["prompt_id"], table["start"], table["end"], strict=True)
    table["text"] = tokenizer.batch_decode(
        [ids[prompt][first:last] for prompt, first, last in spans]
    )
    return table


def serialized(
    table: pd.DataFrame, neurons: pd.DataFrame, ids: dict[str, list[int]]
) -> Iterator[dict[str, Any]]:
    """Truncated prompts as JSON Lines rows: the neuron and its token, the token ids, the text."""
    named = table.merge(neurons[["layer", "neuron", "kind", "token"]], on=["layer", "neuron"])
    for row in named.to_dict("records"):
        yield {
            "layer": row["layer"],
            "neuron": row["neuron"],
            "kind": row["kind"],
            "token": row["token"],
            "split": row["split"],
            "rank": row["rank"],
            "prompt_id": row["prompt_id"],
            "ids": ids[row["prompt_id"]][row["start"] : row["end"]],
            "text": row["text"],
        }


def truncation_counts(
    neurons: pd.DataFrame, table: pd.DataFrame, short: "pd.Series[bool]"
) -> pd.DataFrame:
    """What truncation did to each neuron's prompts of a split.

    Args:
        short: per row of `table`, whether the truncated prompt is short enough to be kept.

    Returns:
        layer, neuron, kind, split, prompts, too_long (left out), tokens_before, tokens_after (means
        over all its prompts), share_kept (mean share of the activation).
    """
    measured = table.assign(
        too_long=~short,
        tokens_after=table["end"] - table["start"],
        share_kept=table["truncated_activation"] / table["activation"],
    ).merge(neurons[["layer", "neuron", "kind"]], on=["layer", "neuron"])
    return (
        measured.groupby(["layer", "neuron", "kind", "split"])
        .agg(
            prompts=("rank", "size"),
            too_long=("too_long", "sum"),
            tokens_before=("end", "mean"),
            tokens_after=("tokens_after", "mean"),
            share_kept=("share_kept", "mean"),
        )
        .reset_index()
    )
