"""Log-probabilities of continuations, from logits."""

import torch
from torch import Tensor

from steerpaper.engine.unembed import Logits, at_a_time
from steerpaper.workflow import counts


def sum_logprobs(
    logits: Logits, row: Tensor, start: Tensor, targets: Tensor, mask: Tensor
) -> Tensor:
    """Sum of log p(target) over each continuation's tokens, in nats.

    Args:
        logits: [row, token, V].
        row, start: [score] the row, and the column that predicts the first target.
        targets, mask: [score, target] token ids, and 1 where there is one.

    Returns:
        float64 [score]: in float32 the sum over the vocabulary alone is off by 2e-5 a token.
    """
    counts.logits(mask)
    columns = start[:, None] + torch.arange(targets.shape[1], device=row.device)
    columns = columns.clamp(max=logits.shape[1] - 1)
    part = at_a_time(logits)
    wanted = zip(
        row[:, None].expand_as(columns).flatten().split(part),
        columns.flatten().split(part),
        targets.flatten().split(part),
        strict=True,
    )
    logprob = torch.cat(
        [
            logits[r, c].double().log_softmax(dim=-1).gather(1, target[:, None])[:, 0]
            for r, c, target in wanted
        ]
    ).view_as(columns)
    # one after the other: a sum's order may follow from the number of rows beside it
    total: Tensor = (logprob * mask).cumsum(dim=1)[:, -1]
    return total
