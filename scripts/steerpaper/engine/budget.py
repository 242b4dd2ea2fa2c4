"""How many tokens a forward pass may hold, where the configuration leaves that to the machine."""

import logging
from collections.abc import Iterable

import torch

from steerpaper.engine.batching import empty_prefix
from steerpaper.engine.forward import forward
from steerpaper.engine.model import LanguageModel
from steerpaper.workflow import counts

log = logging.getLogger(__name__)

AUTO = "auto"
# a CPU is no faster with more, and keeps its caches with fewer
LEAST = 1024
# no GPU is faster with more
MOST = 65536
# of the memory that is left beside the weights; the rest is for what a stage keeps besides
SHARE = 0.5
# the rows that memory is measured with
WIDTH = 64


def budget_of(lm: LanguageModel, asked: int | str) -> int:
    """The tokens that a pass of this model may hold.

    No result depends on it: a batch that does not fit is halved (`batching.run_batches`).

    Args:
        asked: `batch_tokens` of the configuration: a number, or `auto`. That is 1024 but on CUDA,
            where it is as many as take half of the memory that is free, by what two passes take.
    """
    if asked != AUTO:
        return counts.passes_hold(int(asked))
    if lm.device.type != "cuda":
        return counts.passes_hold(LEAST)
    with counts.apart():
        budget = _measured(lm)
    log.info("batch_tokens: auto is %d tokens a pass here", budget)
    return counts.passes_hold(budget)


def largest(rooms: Iterable[tuple[float, float]]) -> int:
    """The largest power of two of tokens that fits everywhere, within `LEAST` and `MOST`.

    A power of two, so that it is the same in every job of a run.

    Args:
        rooms: by device, the bytes that a token takes and those that are free.
    """
    fits = min((SHARE * free / max(taken, 1.0) for taken, free in rooms), default=float(LEAST))
    budget = LEAST
    while budget * 2 <= min(fits, MOST):
        budget *= 2
    return budget


def _measured(lm: LanguageModel) -> int:
    devices = sorted({lm.device, *map(lm.device_of, range(lm.n_layers))}, key=str)
    small, large = (_taken(lm, tokens, devices) for tokens in (LEAST, 2 * LEAST))
    torch.cuda.empty_cache()
    free = [torch.cuda.mem_get_info(device)[0] for device in devices]
    return largest(
        ((more - less) / LEAST, room) for less, more, room in zip(small, large, free, strict=True)
    )


def _taken(lm: LanguageModel, tokens: int, devices: list[torch.device]) -> list[int]:
    """Bytes that a pass takes at most, by device: with all logits and its keys and values."""
    before = [torch.cuda.memory_allocated(device) for device in devices]
    for device in devices:
        torch.cuda.reset_peak_memory_stats(device)
    ids = torch.full((tokens // WIDTH, WIDTH), lm.pad, device=lm.device)
    mask = torch.ones_like(ids)
    prefix = empty_prefix(lm, len(ids))
    forward(lm, ids, mask, prefix.cache, logits=lambda x: x[:, :].float().logsumexp(-1))
    return [
        torch.cuda.max_memory_allocated(device) - used
        for device, used in zip(devices, before, strict=True)
    ]
