"""Top-activating prompts: where in the corpus a neuron fires most (Neo et al. 2024, section 3)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.batching import Ids, read_rows, run_rows
from steerpaper.engine.caches import Change, Site
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.text import beginning
from steerpaper.progress import progress

# at least so many prompts are planned into batches together, more under a large budget: enough
# to fill batches, and beyond that many, memory does not grow with the corpus
PLANNED = 128


@dataclass(frozen=True)
class Top:
    """The highest activations so far, best first; unfilled places have activation -inf.

    Attributes:
        activation: float32 [neuron, k].
        prompt: int64 [neuron, k] number of the prompt in the corpus.
        position: int64 [neuron, k] token of the prompt.
    """

    activation: NDArray[np.float32]
    prompt: NDArray[np.int64]
    position: NDArray[np.int64]


def no_top(neurons: int, k: int) -> Top:
    """Nothing seen yet."""
    shape = (neurons, k)
    return Top(
        np.full(shape, -np.inf, dtype=np.float32),
        np.full(shape, np.iinfo(np.int64).max),
        np.zeros(shape, dtype=np.int64),
    )


def merge_top(one: Top, other: Top) -> Top:
    """The top k of two that saw different prompts; of equal activations the earlier prompt wins.

    The order is total, so the result does not depend on the order in which prompts were seen.
    """
    k = one.activation.shape[1]
    activation = np.concatenate([one.activation, other.activation], axis=1)
    prompt = np.concatenate([one.prompt, other.prompt], axis=1)
    position = np.concatenate([one.position, other.position], axis=1)
    order = np.lexsort((prompt, -activation), axis=1)[:, :k]
    return Top(
        np.take_along_axis(activation, order, axis=1),
        np.take_along_axis(prompt, order, axis=1),
        np.take_along_axis(position, order, axis=1),
    )


def maximum_over_tokens(activation: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Highest activation over the tokens that count, and the first token that has it.

    Args:
        activation: [row, token, neuron].
        counted: [row, token] 1 for tokens that count.

    Returns:
        maximum [row, neuron], position [row, neuron].
    """
    masked = activation.float().masked_fill(counted[..., None] == 0, -torch.inf)
    position = masked.argmax(dim=1)
    return masked.gather(1, position[:, None])[:, 0], position


def _columns(x: Tensor, columns: Tensor) -> Tensor:
    return x[..., columns]


def _pieces(prompts: Iterable[Ids], size: int) -> Iterator[tuple[int, list[Ids]]]:
    source, start = iter(prompts), 0
    while piece := list(islice(source, size)):
        yield start, piece
        start += len(piece)


def top_activations(
    lm: LanguageModel,
    neurons: Mapping[int, Sequence[int]],
    prompts: Iterable[Ids],
    *,
    k: int,
    bos: bool | str,
    budget: int,
) -> Top:
    """The k prompts on which each neuron fires most, in one pass over the prompts for all neurons.

    A neuron's activation is what multiplies W_out[i]. Neither padding nor the prepended
    beginning-of-sequence token enters a maximum. The pass stops at the last block's neurons.

    Args:
        neurons: per block, its neurons; the result has them in this order, block after block.
        prompts: token ids, without a beginning-of-sequence token; none is empty. They are
            taken a piece at a time, so memory does not grow with their number.

    Returns:
        prompt numbers and positions are those of `prompts`.
    """
    start = beginning(lm.tokenizer, bos)
    index = {
        layer: torch.tensor(list(chosen), device=lm.device_of(layer))
        for layer, chosen in neurons.items()
    }
    top = no_top(sum(map(len, neurons.values())), k)

    def look(items: list[int], ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        reads: dict[Site, Change] = {
            (layer, "neurons"): partial(_columns, columns=chosen) for layer, chosen in index.items()
        }
        got = read_rows(lm, ids, mask, reads)
        found = [got[layer, "neurons"].to(lm.device) for layer in neurons]
        activation = torch.cat(found, dim=-1)
        maximum, position = maximum_over_tokens(activation[:, len(start) :], mask[:, len(start) :])
        return maximum.T.cpu(), position.T.cpu()

    for first, piece in _pieces(prompts, max(PLANNED, budget // 8)):
        batches = run_rows(lm, piece, budget, look, start)
        for items, (maximum, position) in progress(batches, len(piece), "activations"):
            mine = slice(len(items))
            prompt = np.broadcast_to(np.array(items) + first, maximum[:, mine].shape)
            top = merge_top(top, Top(maximum[:, mine].numpy(), prompt, position[:, mine].numpy()))
    return top


def top_table(
    top: Top,
    neurons: Mapping[int, Sequence[int]],
    ids: Mapping[int, str],
    split: str,
) -> pd.DataFrame:
    """A row a neuron and prompt: layer, neuron, split, rank, prompt_id, position, activation.

    A prompt on which the neuron's highest activation is not positive is no prompt it fires on:
    it is left out (so a neuron that never fires has no rows).

    Args:
        ids: the ids of the prompts in `top`, by number.
    """
    names = [(layer, neuron) for layer, chosen in neurons.items() for neuron in chosen]
    rows = [
        {
            "layer": layer,
            "neuron": neuron,
            "split": split,
            "rank": rank + 1,
            "prompt_id": ids[int(top.prompt[number, rank])],
            "position": int(top.position[number, rank]),
            "activation": top.activation[number, rank],
        }
        for number, (layer, neuron) in enumerate(names)
        for rank in range(top.activation.shape[1])
        # what is not a number stays, to be refused where it is written
        if not top.activation[number, rank] <= 0
    ]
    columns = ["layer", "neuron", "split", "rank", "prompt_id", "position", "activation"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"activation": np.float32})


def merge_tables(tables: Sequence[pd.DataFrame], k: int) -> pd.DataFrame:
    """Join the tables of corpus shards: the top k of each neuron and split, ranked anew."""
    table = pd.concat(tables, ignore_index=True)
    table = table.sort_values(
        ["layer", "neuron", "split", "activation", "prompt_id"],
        ascending=[True, True, False, False, True],
        ignore_index=True,
    )
    table["rank"] = table.groupby(["layer", "neuron", "split"]).cumcount() + 1
    return table[table["rank"] <= k].reset_index(drop=True)


def firing_counts(
    neurons: pd.DataFrame, table: pd.DataFrame, sizes: Mapping[str, int], k: int
) -> pd.DataFrame:
    """How many prompts each neuron has in a split, those included that it has none of.

    Args:
        neurons: layer, neuron, kind.
        table: the merged table.
        sizes: prompts in the corpus, by split.

    Returns:
        layer, neuron, kind, split, corpus (prompts searched), prompts, missing (of k), highest.
    """
    keys = ["layer", "neuron", "split"]
    grid = neurons[["layer", "neuron", "kind"]].merge(
        pd.DataFrame({"split": list(sizes), "corpus": list(sizes.values())}), how="cross"
    )
    found = table.groupby(keys).agg(prompts=("rank", "size"), highest=("activation", "max"))
    counts = grid.merge(found.reset_index(), on=keys, how="left")
    counts["prompts"] = counts["prompts"].fillna(0).astype(int)
    counts["missing"] = k - counts["prompts"]
    return counts[[*keys, "kind", "corpus", "prompts", "missing", "highest"]]
