"""Truncation: the shortest suffix that still makes a neuron fire (Neo et al. 2024, section 3).

The suffix ends at the token where the neuron fires most and keeps a share (80% in the paper) of the
activation. Longer suffixes need not fire more, so all lengths are tried from 1 on until one keeps
the share. The authors bisect (src/neuron_texts.py, lines 130 to 151, at commit f97f993), which may
pass the shortest by; `published` does so too. A suffix is only ever taken after it was run and
found to keep the share.
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
from steerpaper.engine.forward import picked
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.text import beginning
from steerpaper.engine.widths import width_of
from steerpaper.progress import progress

Floats = NDArray[np.float32]

# the activations of suffixes: (pairs, lengths) -> [suffix]
Measure = Callable[[list[int], list[int]], Floats]
# (the prompts' lengths, their activations, the share to keep, measure) -> per pair, the length that
# is kept and its activation, as it was measured
Search = Callable[
    [Sequence[int], Sequence[float], float, Measure], tuple[NDArray[np.int64], Floats]
]

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
    bos: bool | str,
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
            found = read_rows(lm, ids, mask, {site: lambda x: picked(x, row, token, number[items])})
            return found[site].float().cpu()

        batches = run_rows(lm, [rows[row] for row in mine], budget, look, start)
        for items, values in progress(batches, len(mine), f"truncation, block {layer}"):
            found[[mine[item] for item in items]] = values[: len(items)].numpy()
    return found


def shortest_lengths(
    lengths: Sequence[int],
    activations: Sequence[float],
    ratio: float,
    measure: Measure,
    *,
    longest: int,
) -> tuple[NDArray[np.int64], Floats]:
    """The shortest suffix of every pair that keeps the share: all lengths are tried, from 1 on.

    Lengths that are padded to one width are tried together, of all pairs that are still open, with
    one call of `measure`.

    Args:
        longest: no longer suffix is tried; a pair that needs a longer one keeps its whole prompt.
    """
    kept = np.array(lengths, dtype=np.int64)
    value = np.array(activations, dtype=np.float32)
    bound = _bound(activations, ratio)
    first, open_pairs = 1, np.arange(len(kept))
    # the whole prompt is known to keep the share
    while first <= longest and (open_pairs := open_pairs[kept[open_pairs] > first]).size:
        chunk = np.arange(first, min(width_of(first), longest) + 1)
        pair, length = (part.ravel() for part in np.meshgrid(open_pairs, chunk, indexing="ij"))
        shorter = length < kept[pair]
        pair, length = pair[shorter], length[shorter]
        got = measure(pair.tolist(), length.tolist())
        # from the longest to the shortest, so that the shortest is what stays
        enough = np.flatnonzero(got >= bound[pair])[::-1]
        kept[pair[enough]], value[pair[enough]] = length[enough], got[enough]
        open_pairs = np.setdiff1d(open_pairs, pair[enough])
        first = int(chunk[-1]) + 1
    return kept, value


def bisect_lengths(
    lengths: Sequence[int], activations: Sequence[float], ratio: float, measure: Measure
) -> tuple[NDArray[np.int64], Floats]:
    """Bisect the suffix lengths of all pairs together, each level with one call of `measure`.

    What is found is the shortest suffix only where longer ones always fire more, so which lengths
    are tried matters: those of the authors (src/neuron_texts.py, lines 130 to 151, at commit
    f97f993), who halve the first tokens' positions and take it that one token is not enough.
    """
    missed = np.ones(len(lengths), dtype=np.int64)
    kept = np.array(lengths, dtype=np.int64)
    value = np.array(activations, dtype=np.float32)
    bound = _bound(activations, ratio)
    while (open_pairs := np.flatnonzero(kept - missed > 1)).size:
        # positions are halved downwards, so lengths upwards
        middle = (missed + kept + 1) // 2
        got = measure(open_pairs.tolist(), middle[open_pairs].tolist())
        enough = got >= bound[open_pairs]
        yes, no = open_pairs[enough], open_pairs[~enough]
        kept[yes], value[yes] = middle[yes], got[enough]
        missed[no] = middle[no]
    return kept, value


def _bound(activations: Sequence[float], ratio: float) -> NDArray[np.float64]:
    """Per pair, the least activation that keeps the share."""
    return ratio * np.array(activations, dtype=np.float64) * (1 + ROUNDING)


def truncate(
    lm: LanguageModel,
    pairs: Sequence[Firing],
    search: Search,
    *,
    ratio: float,
    bos: bool | str,
    budget: int,
) -> tuple[NDArray[np.int64], Floats]:
    """Per pair, how many of the prompt's last tokens are kept, and the activation on them alone.

    Args:
        search: which suffixes are tried: `shortest_lengths` or `bisect_lengths`.
    """

    def measure(which: list[int], lengths: list[int]) -> Floats:
        rows = [pairs[pair].ids[-length:] for pair, length in zip(which, lengths, strict=True)]
        neurons = [(pairs[pair].layer, pairs[pair].neuron) for pair in which]
        return last_activations(lm, neurons, rows, bos=bos, budget=budget)

    lengths = [len(pair.ids) for pair in pairs]
    return search(lengths, [pair.activation for pair in pairs], ratio, measure)


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
        layer, neuron, kind, split, prompts, too_long (left out), tokens_before (mean over all its
        prompts), tokens_after and share_kept (means over those that are kept; the share is the
        activation's).
    """
    measured = table.assign(
        too_long=~short,
        tokens_after=(table["end"] - table["start"]).where(short),
        share_kept=(table["truncated_activation"] / table["activation"]).where(short),
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
