"""Activations: the residual stream after every block, averaged over a continuation's tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.batching import padded, run_batches, run_prefix, run_root
from steerpaper.model import LanguageModel, forward
from steerpaper.progress import progress
from steerpaper.steering.pairs import Pair


def mean_over_tokens(residual: Tensor, mask: Tensor) -> Tensor:
    """Average [row, token, d] over the tokens that mask [row, token] marks: float32 [row, d]."""
    weight = (mask / mask.sum(1, keepdim=True)).to(torch.float32)
    return torch.einsum("rtd,rt->rd", residual.to(torch.float32), weight)


def read_activations(
    lm: LanguageModel, pairs: Sequence[Pair], budget: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Residual stream after every block, mean over the matching and over the other continuation.

    Method section of Panickssery et al. 2023 (the letter's token alone where the continuation is
    one letter). The prompt is run once for both continuations, and what all prompts begin with
    once for all; all blocks are read in one pass.

    Returns:
        matching, other: float32 [pair, L, d], in the order of `pairs`.
    """
    root = run_root(lm, [pair.text for pair in pairs])
    found = np.zeros((2, len(pairs), lm.n_layers, lm.width), dtype=np.float32)

    def run(batch: list[int]) -> Tensor:
        prefix = run_prefix(lm, root, [pairs[item].text for item in batch])
        twice = prefix.select(torch.arange(2 * len(batch), device=lm.device) % len(batch))
        rows = [pairs[i].matching for i in batch] + [pairs[i].other for i in batch]
        ids, mask = (part.to(lm.device) for part in padded(rows, lm.pad))
        means, _ = forward(
            lm,
            ids,
            twice.extend(mask),
            twice.cache,
            read={layer: lambda h: mean_over_tokens(h, mask) for layer in range(lm.n_layers)},
        )
        stacked = torch.stack([means[layer] for layer in range(lm.n_layers)], dim=1)
        by_side: Tensor = stacked.unflatten(0, (2, len(batch))).cpu()
        return by_side

    # a prompt's own prefix once, or both its continuations: whichever is longer fills the pass
    lengths = [max(len(pair.text) - root[1], 2 * (pair.length - len(pair.text))) for pair in pairs]
    for batch, means in progress(run_batches(lengths, budget, run), len(pairs), "activations"):
        found[:, batch] = means.numpy()
    return found[0], found[1]
