"""Choosing next tokens, greedily or by a seeded draw, row by row independently of the batch."""

from collections.abc import Callable

import torch
from torch import Tensor


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Probabilities [row, V] with all but the smallest set of tokens of mass >= top_p set to zero.

    Float64, not renormalised (Holtzman et al. 2020, section 3.1).
    """
    probabilities = torch.softmax(logits.double(), dim=-1)
    if top_p >= 1:
        return probabilities
    least = torch.zeros(len(probabilities), 1, dtype=probabilities.dtype)
    rows = torch.arange(len(probabilities))
    # most of the mass lies in few tokens: sort those, and more only for rows where they fall short
    for count in (256, 4096, probabilities.shape[-1]):
        top = probabilities[rows].topk(min(count, probabilities.shape[-1])).values
        mass = top.cumsum(-1)
        # the first token at which the mass reaches top_p is the last one kept
        last = (mass < top_p).sum(-1, keepdim=True).clamp(max=top.shape[-1] - 1)
        least[rows] = top.gather(-1, last)
        rows = rows[mass[:, -1] < top_p]
        if not len(rows):
            break
    return probabilities.where(probabilities >= least, 0.0)


def nucleus_by_sorting(logits: Tensor, top_p: float) -> Tensor:
    """The same, without a look at the numbers on the way, for which a GPU would be waited for."""
    probabilities = torch.softmax(logits.double(), dim=-1)
    if top_p >= 1:
        return probabilities
    top = probabilities.sort(dim=-1, descending=True).values
    last = (top.cumsum(-1) < top_p).sum(-1, keepdim=True).clamp(max=top.shape[-1] - 1)
    return probabilities.where(probabilities >= top.gather(-1, last), 0.0)


def draw(
    logits: Tensor,
    rows: Tensor,
    uniform: Tensor,
    temperature: float,
    top_p: float,
    keep: Callable[[Tensor, float], Tensor] = nucleus,
) -> Tensor:
    """Draw tokens by inverting the cumulative distribution in the vocabulary's order.

    Args:
        logits: [row, V].
        rows: [draw] of which row; what is drawn from one row alike is computed once.
        uniform: [draw] numbers in [0, 1), each of its own stream.
        keep: sets the probabilities of the tokens that are not drawn to zero.

    Returns:
        token ids [draw].
    """
    mass = keep(logits / temperature, top_p).cumsum(-1)
    # every number at every row: a search costs nothing beside a distribution
    target = uniform.double() * mass[:, -1:]
    found = torch.searchsorted(mass, target, right=True).clamp(max=logits.shape[-1] - 1)
    return found[rows.to(found.device), torch.arange(len(rows), device=found.device)]
