"""Activations: the residual stream after every block, averaged over a continuation's tokens."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from steerpaper.engine.batching import Prefix, Prefixes, filled, padded, run_batches
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.guards import refuse_broken
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.needed import beginnings
from steerpaper.engine.text import Choice
from steerpaper.progress import progress
from steerpaper.workflow import counts
from steerpaper.workflow.files import Arrays

SIDES = ("matching", "other")


def mean_over_tokens(residual: Tensor, mask: Tensor) -> Tensor:
    """Average [row, token, d] over the tokens that mask [row, token] marks: float32 [row, d]."""
    weight = (mask / mask.sum(1, keepdim=True)).to(residual.device, torch.float32)
    # one after the other: the order of a sum may follow from the number of rows beside it
    return (residual.to(torch.float32) * weight[..., None]).cumsum(dim=1)[:, -1]


def mean_and_norm(residual: Tensor, mask: Tensor) -> Tensor:
    """`mean_over_tokens` of [row, token, d], and beside it that of the tokens' norms: [row, d + 1].

    The mean of several tokens is shorter than they are: its norm is not what steering adds to.
    """
    norms = residual.to(torch.float32).norm(dim=-1, keepdim=True)
    return torch.cat([mean_over_tokens(residual, mask), mean_over_tokens(norms, mask)], dim=1)


def read_activations(lm: LanguageModel, items: Sequence[Choice], budget: int) -> Arrays:
    """Residual stream after every block, mean over the matching and over the other continuation.

    Method section of Panickssery et al. 2023 (the letter's token alone where the continuation is
    one letter). The prompt is run once for both continuations, and what all prompts begin with
    once for all; all blocks are read in one pass.

    Returns:
        matching, other: float32 [item, L, d], in the order of `items`; matching_norms,
        other_norms: float32 [item, L], the mean over the same tokens of the residual stream's norm.

    Raises:
        UserError: an activation is not finite; it names the item and the block.
    """
    lm = lm.for_length(max((item.length for item in items), default=0))
    held = counts.needing(lm.name, lm.n_layers)
    prefixes = Prefixes(lm, [item.text for item in items], budget)
    found = np.zeros((2, len(items), lm.n_layers, lm.width), dtype=np.float32)
    norms = np.zeros(found.shape[:-1], dtype=np.float32)
    sides = [[item.matching for item in items], [item.other for item in items]]
    batches = prefixes.batches(prefixes.widths, prefixes.run)
    for chosen, prefix in progress(batches, len(items), "activations"):
        # every item's prefix is followed by both its continuations
        rows = [(place, side) for side in (0, 1) for place in range(len(chosen))]
        ids = [sides[side][chosen[place]] for place, side in rows]
        widths = [
            prefixes.width(chosen[place], len(row))
            for (place, _), row in zip(rows, ids, strict=True)
        ]

        def run(
            batch: list[int],
            rows: list[tuple[int, int]] = rows,
            ids: list[list[int]] = ids,
            widths: list[int] = widths,
            prefix: Prefix = prefix,
        ) -> Tensor:
            width = widths[batch[0]]
            full = filled(batch, width)
            before = prefix.select(
                torch.tensor([rows[entry][0] for entry in full], device=lm.device), room=width
            )
            with counts.useful(len(batch)):
                return _means(lm, before, [ids[entry] for entry in full], width)[: len(batch)]

        for batch, means in run_batches(widths, budget, run, lm.together):
            for entry, mean in zip(batch, means, strict=True):
                place, side = rows[entry]
                if not mean.isfinite().all():
                    item = items[chosen[place]]
                    refuse_broken(lm, [*item.text, *ids[entry]], {}, f"activations ({item.id})")
                found[side, chosen[place]] = mean[:, :-1].numpy()
                norms[side, chosen[place]] = mean[:, -1].numpy()
    whole = [(*item.text, *side) for item in items for side in (item.matching, item.other)]
    held(beginnings(whole) * lm.n_layers)
    of_norms = {f"{side}_norms": part for side, part in zip(SIDES, norms, strict=True)}
    return dict(zip(SIDES, found, strict=True)) | of_norms


def _means(lm: LanguageModel, before: Prefix, rows: Sequence[Sequence[int]], width: int) -> Tensor:
    """`mean_and_norm` of the rows' tokens after every block, float32 [row, L, d + 1]."""
    ids, mask = padded(rows, lm, width)
    means, _ = forward(
        lm,
        ids,
        before.extend(mask),
        before.cache,
        reads={(layer, RESIDUAL): lambda h: mean_and_norm(h, mask) for layer in range(lm.n_layers)},
    )
    return torch.stack([means[layer, RESIDUAL].cpu() for layer in range(lm.n_layers)], dim=1)
