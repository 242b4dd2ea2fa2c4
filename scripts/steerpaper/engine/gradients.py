"""Gradients: what a vector added after any block would do to a score, to first order.

One backward pass an item gives the slope of every direction at every block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.batching import Prefix, Prefixes, padded, run_batches, width_of
from steerpaper.engine.forward import RESIDUAL, Change, Site, forward
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.text import Choice
from steerpaper.engine.unembed import Logits
from steerpaper.progress import progress

# a pass that is differentiated holds what a plain one forgets, for about so many tokens in place
# of one
HELD = 4


def item_gradients(
    lm: LanguageModel, items: Sequence[Choice], *, positions: str, budget: int
) -> NDArray[np.float64]:
    """Gradient of every item's logit difference: float64 [item, L, d] (see `gradients`)."""
    return gradients(
        lm,
        [item.text for item in items],
        [(number, ids) for number, item in enumerate(items) for ids in (item.matching, item.other)],
        [1.0, -1.0] * len(items),
        np.arange(len(items)).repeat(2).tolist(),
        positions=positions,
        budget=budget,
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
) -> NDArray[np.float64]:
    """Gradient of sums of log-probabilities by a vector that is added after each block.

    The product with a vector of block l is the slope, to first order, of what `engine.score`
    measures when multiples of the vector are added after block l.

    Args:
        prompts: token ids.
        completions: the number of the prompt, and the completion's token ids (one or more).
        weights: how often the completion's log-probability, in nats, counts in its group's sum.
        groups: the number of each completion's group, from 0.
        positions: which tokens the vector is added at, as `Condition` has it.
        budget: tokens a plain forward pass may hold.

    Returns:
        float64 [group, L, d], nats per unit of the residual stream; computed in the model's dtype.
    """
    whole = positions == "all"
    prefixes = Prefixes(lm, [[] if whole else prompt[:-1] for prompt in prompts])
    left = [list(prompt if whole else prompt[-1:]) for prompt in prompts]
    of_prompt: dict[int, list[int]] = {}
    for number, (prompt, _) in enumerate(completions):
        of_prompt.setdefault(prompt, []).append(number)
    asked = sorted(of_prompt)
    found = np.zeros((1 + max(groups, default=-1), lm.n_layers, lm.width))
    by_completion: dict[int, NDArray[np.float64]] = {}
    batches = run_batches(
        [prefixes.widths[prompt] for prompt in asked],
        budget,
        lambda chosen: prefixes.run([asked[place] for place in chosen]),
    )
    for chosen, prefix in progress(batches, len(asked), "gradients"):
        rows = [
            _Row.of(row, number, left[asked[place]], completions[number][1], positions)
            for row, place in enumerate(chosen)
            for number in of_prompt[asked[place]]
        ]
        widths = [width_of(len(row.tokens)) + 1 for row in rows]

        def run(
            batch: list[int],
            rows: list[_Row] = rows,
            widths: list[int] = widths,
            prefix: Prefix = prefix,
        ) -> NDArray[np.float64]:
            return _run(lm, prefix, [rows[entry] for entry in batch], widths[batch[0]])

        for batch, values in run_batches(widths, max(1, budget // HELD), run):
            for entry, value in zip(batch, values, strict=True):
                by_completion[rows[entry].number] = value
        # in the completions' order, whatever order they ran in
        for place in chosen:
            for number in of_prompt[asked[place]]:
                found[groups[number]] += weights[number] * by_completion.pop(number)
    return found


@dataclass(frozen=True)
class _Row:
    """Tokens after a prompt's prefix, the last of them without the completion's own last one.

    Attributes:
        before: the row of the prefix that they follow.
        number: the completion's.
        tokens: of prompt and completion.
        start: the column whose logits predict the completion's first token.
        targets: the completion's tokens.
        steered: 1 for tokens at which a vector is added, else 0.
    """

    before: int
    number: int
    tokens: list[int]
    start: int
    targets: list[int]
    steered: list[int]

    @classmethod
    def of(
        cls, before: int, number: int, left: list[int], completion: Sequence[int], positions: str
    ) -> "_Row":
        """The row of one completion; `left` has the prompt's tokens that are not in the prefix."""
        tokens, last = [*left, *completion[:-1]], len(left) - 1
        steered = {
            "all": [1] * len(tokens),
            "last": [int(column == last) for column in range(len(tokens))],
            "response": [int(column >= last) for column in range(len(tokens))],
        }[positions]
        return cls(before, number, tokens, last, list(completion), steered)


def _run(
    lm: LanguageModel, prefix: Prefix, rows: Sequence[_Row], width: int
) -> NDArray[np.float64]:
    """Gradients of some rows' log-probabilities: float64 [row, L, d]."""
    ids, mask = padded([row.tokens for row in rows], lm.pad, width)
    steered, _ = padded([row.steered for row in rows], 0, width)
    targets, target_mask = padded([row.targets for row in rows], lm.pad, width)
    own = prefix.select(torch.tensor([row.before for row in rows], device=lm.device))
    ids, mask, targets, target_mask = (
        part.to(lm.device) for part in (ids, mask, targets, target_mask)
    )
    start = torch.tensor([row.start for row in rows], device=lm.device)
    here = steered[..., None].to(lm.device, lm.dtype)
    with torch.enable_grad():
        added = [
            torch.zeros(len(rows), 1, lm.width, dtype=lm.dtype, device=lm.device).requires_grad_()
            for _ in lm.blocks
        ]
        edits: dict[Site, Change] = {
            (layer, RESIDUAL): lambda h, vector=vector: h + here * vector  # type: ignore[misc]
            for layer, vector in enumerate(added)
        }
        _, total = forward(
            lm,
            ids,
            own.extend(mask),
            own.cache,
            edits=edits,
            logits=lambda x: _logprobs(x, start, targets, target_mask).sum(),
        )
        assert total is not None
        slopes = torch.autograd.grad(total, added)
    return torch.cat(slopes, dim=1).double().cpu().numpy()


def _logprobs(logits: Logits, start: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every row's completion, nats: [row].

    Args:
        logits: [row, token, V].
        start: [row] the column that predicts the first target.
        targets, mask: [row, target] token ids, and 1 where there is one.
    """
    columns = start[:, None] + torch.arange(targets.shape[1], device=targets.device)
    columns = columns.clamp(max=logits.shape[1] - 1)
    row, column = mask.nonzero(as_tuple=True)
    wanted = logits[row, columns[row, column]].float()
    logprob = wanted.gather(1, targets[row, column][:, None])[:, 0] - wanted.logsumexp(dim=-1)
    return torch.zeros(len(targets), device=targets.device).index_add(0, row, logprob)
