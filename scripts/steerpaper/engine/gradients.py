"""Gradients of scores: how far each one moves, to first order, with any vector at any block.

Adding m × v to the residual stream after block l at the steered positions changes a score by
m × <g_l, v> and terms in m². One pass forward and one back give g_l of every block, and so the
slope of every vector there, however many: what `score` measures with two passes a vector and block.

What is not steered is run without a graph: its keys and values, and block 0 of the rest.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine import needed
from steerpaper.engine.batching import Prefix, Prefixes, filled, padded, run_batches
from steerpaper.engine.caches import Change, Site
from steerpaper.engine.condition import Condition, untouched
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.intervene import strengths
from steerpaper.engine.logprobs import sum_logprobs
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.offloaded import weights_kept_out
from steerpaper.engine.placing import moved
from steerpaper.engine.text import Choice
from steerpaper.engine.unembed import Logits
from steerpaper.progress import progress
from steerpaper.workflow import counts

Gradients = NDArray[np.float64]

# a pass with a graph keeps what every block computes, where a score's pass keeps one block's: of
# the tokens that a pass may hold it is given this part
GRAPH = 4


@dataclass(frozen=True)
class _Row:
    """A completion after its prompt's prefix.

    Attributes:
        prompt: its number.
        tokens: the prompt's tokens that are not in the prefix, and all but the last to score.
        last: the column of the last prompt token, whose logits predict the first to score.
        prefilled: how many of the prompt's tokens stand behind the user's turn.
        targets: the tokens to score.
    """

    prompt: int
    tokens: Sequence[int]
    last: int
    prefilled: int
    targets: Sequence[int]


def item_gradients(
    lm: LanguageModel, items: Sequence[Choice], positions: str, budget: int
) -> Gradients:
    """Gradient of every item's log p(matching) - log p(other): float64 [item, L, d], nats.

    <gradient [item, l], v> is, to first order, the slope of the item's logit difference on the
    multiplier of v at block l (the steerability of Tan et al. 2024, section 4).

    Args:
        positions, budget: as in `gradients`.
    """
    return gradients(
        lm,
        [item.text for item in items],
        [(number, ids) for number, item in enumerate(items) for ids in (item.matching, item.other)],
        [1.0, -1.0] * len(items),
        [number for number in range(len(items)) for _ in range(2)],
        positions=positions,
        budget=budget,
        prefilled=[item.prefilled for item in items],
    )


def gradients(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[tuple[int, Sequence[int]]],
    weights: Sequence[float],
    groups: Sequence[int],
    *,
    positions: str,
    budget: int,
    prefilled: Sequence[int] | None = None,
) -> Gradients:
    """Gradient of each group's sum of weight × log p(completion | prompt), in nats.

    It is taken with respect to one vector that is added to the residual stream after block l at
    every steered position, for all blocks in one pass back.

    A completion's gradient has the model's dtype up to the sum over positions, which is taken in
    float64: in bfloat16 and float16 each position's has that type's digits. No result depends on
    the budget or on what else is asked for, on one machine.

    Args:
        prompts: token ids.
        completions: the number of the prompt, and the completion's token ids (one or more).
        weights: one a completion.
        groups: the number of the sum that a completion belongs to, one a completion.
        positions: which tokens are steered, as in `Condition`.
        budget: tokens that a pass without a graph may hold.
        prefilled: per prompt, how many of its tokens stand behind the user's turn; by default none.

    Returns:
        float64 [group, L, d], of groups 0 to the largest number; 0 for one without completions.
    """
    sizes = Counter(groups)
    found = np.zeros((max(sizes, default=-1) + 1, lm.n_layers, lm.width))
    weight_of = dict(enumerate(weights))
    held: dict[int, dict[int, Gradients]] = {}
    batches = completion_gradients(
        lm, prompts, completions, positions=positions, budget=budget, prefilled=prefilled
    )
    for numbers, rows in progress(batches, len(completions), "gradients"):
        for number, row in zip(numbers, rows, strict=True):
            group = groups[number]
            members = held.setdefault(group, {})
            members[number] = row
            if len(members) == sizes[group]:
                # in the completions' order, whatever batches they came in
                for member in sorted(members):
                    found[group] += weight_of[member] * members[member]
                del held[group]
    return found


def completion_gradients(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[tuple[int, Sequence[int]]],
    *,
    positions: str,
    budget: int,
    prefilled: Sequence[int] | None = None,
) -> Iterator[tuple[list[int], Gradients]]:
    """Gradient of every completion's log-probability, batch by batch.

    Args:
        prompts, completions, positions, budget, prefilled: as in `gradients`.

    Yields:
        the numbers of some completions, and float64 [completion, L, d] in nats.
    """
    prefilled = [0] * len(prompts) if prefilled is None else prefilled
    lm = lm.for_length(max((len(prompts[p]) + len(ids) for p, ids in completions), default=0))
    kept = [
        untouched(len(prompt), behind, [positions])
        for prompt, behind in zip(prompts, prefilled, strict=True)
    ]
    held = counts.needing(lm.name, lm.n_layers)
    before = [prompt[:end] for prompt, end in zip(prompts, kept, strict=True)]
    prefixes = Prefixes(lm, before, budget)
    left = [prompt[end:] for prompt, end in zip(prompts, kept, strict=True)]
    of_prompt: dict[int, list[int]] = {}
    for number, (prompt, _) in enumerate(completions):
        of_prompt.setdefault(prompt, []).append(number)
    asked = sorted(of_prompt)

    def run_prompts(chosen: list[int]) -> Prefix:
        return prefixes.run([asked[place] for place in chosen])

    widths_of = [prefixes.widths[number] for number in asked]
    for chosen, prefix in prefixes.batches(widths_of, run_prompts):
        place = {asked[entry]: row for row, entry in enumerate(chosen)}
        mine = [number for prompt in place for number in of_prompt[prompt]]
        rows = [_row(left, prefilled, *completions[number]) for number in mine]
        widths = [prefixes.width(row.prompt, len(row.tokens)) for row in rows]

        def run(
            batch: list[int],
            rows: list[_Row] = rows,
            widths: list[int] = widths,
            place: dict[int, int] = place,
            prefix: Prefix = prefix,
        ) -> Gradients:
            width = widths[batch[0]]
            here = [rows[entry] for entry in filled(batch, width)]
            before = prefix.select(
                torch.tensor([place[row.prompt] for row in here], device=lm.device)
            )
            with counts.useful(len(batch)):
                return _of_rows(lm, here, before, width, positions)[: len(batch)]

        for batch, found in run_batches(widths, budget // GRAPH, run, lm.together):
            yield [mine[entry] for entry in batch], found
    held(needed.traced(prompts, kept, completions, lm.n_layers))


def _row(
    left: Sequence[Sequence[int]], prefilled: Sequence[int], prompt: int, ids: Sequence[int]
) -> _Row:
    """A completion as a row; `left` has every prompt's tokens that are not in its prefix."""
    tokens = [*left[prompt], *ids[:-1]]
    return _Row(prompt, tokens, len(left[prompt]) - 1, prefilled[prompt], ids)


def _of_rows(
    lm: LanguageModel, rows: Sequence[_Row], before: Prefix, width: int, positions: str
) -> Gradients:
    """Gradients of rows of one width: float64 [row, L, d]."""
    ids, mask = padded([row.tokens for row in rows], lm, width)
    targets, target_mask = padded([row.targets for row in rows], lm, width)
    last = torch.tensor([row.last for row in rows])
    number, start = torch.arange(len(rows), device=lm.device), moved(last, lm.device)
    sites = [(layer, RESIDUAL) for layer in range(lm.n_layers)]
    added: dict[int, Tensor] = {}

    def add(hidden: Tensor, layer: int) -> Tensor:
        if layer not in added:
            added[layer] = torch.zeros_like(hidden).requires_grad_()
        return hidden + added[layer]

    condition = Condition((0,), "", 1.0, positions=positions)
    place = torch.arange(width)[None] - last[:, None]
    steered = strengths([condition] * len(rows), place, [row.prefilled for row in rows])
    steered = steered.to(lm.device, torch.float64)

    def summed(slopes: Sequence[Tensor]) -> Tensor:
        # one after the other: a sum's order may follow from the number of rows beside it
        sums = [(s.double() * steered.to(s.device)).cumsum(dim=1)[:, -1] for s in slopes]
        return torch.stack([one.to(lm.device) for one in sums], dim=1)

    # the weights have no gradient, so the graph begins here
    edits: dict[Site, Change] = {sites[0]: lambda h: h.clone().requires_grad_()}
    reads: dict[Site, Change] = {site: lambda h: h for site in sites}
    look = partial(sum_logprobs, row=number, start=start, targets=targets, mask=target_mask)
    if not lm.how.reuse:
        # what is read of whole rows is no part of the graph; nothing that is added to them is
        edits, reads = {site: partial(add, layer=site[0]) for site in sites}, {}
    remote = lm.remote

    def slopes_there(logits: Logits) -> Tensor:
        assert remote
        along = [added[layer] for layer, _ in sites]
        return summed(remote.gradients(look(logits).sum(), along))

    with torch.set_grad_enabled(remote is None), weights_kept_out(lm.nn._module):
        residual, found = forward(
            lm,
            ids,
            before.extend(mask),
            before.cache,
            edits=edits,
            reads=reads,
            logits=slopes_there if remote else look,
        )
        assert found is not None
        if not remote:
            # a row's log-probability depends on its own residual stream alone
            along = [residual[site] if reads else added[site[0]] for site in sites]
            found = summed(torch.autograd.grad(found.sum(), along))
    by_row: Gradients = found.cpu().numpy()
    counts.back()
    counts.logits(target_mask)
    return by_row
