"""Completions under steering: text sampled token by token, the vector added at every step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from steerpaper.batching import Prefix, empty_prefix, padded, run_batches, run_prefix, run_root
from steerpaper.model import LanguageModel, forward
from steerpaper.progress import progress
from steerpaper.sampling import draw
from steerpaper.seeds import stream
from steerpaper.steering.conditions import UNSTEERED


@dataclass(frozen=True)
class Request:
    """One completion to make.

    Attributes:
        prompt: token ids.
        layers: the blocks that are steered; empty for the unsteered model.
        multiplier: of the steering vector.
        stream: names the random stream of this completion; None for greedy decoding.
    """

    prompt: Sequence[int]
    layers: tuple[int, ...]
    multiplier: float
    stream: tuple[object, ...] | None


class Sampling(TypedDict):
    """How completions are made.

    Attributes:
        positions: `response` steers the last prompt token and every later one, `last` the last
            prompt token, `all` every token.
        max_new_tokens, temperature, top_p: of the sampled completions; greedy ones have the length.
        budget: tokens a batch may hold, prompts and completions together.
    """

    positions: str
    max_new_tokens: int
    temperature: float
    top_p: float
    budget: int


def complete(
    lm: LanguageModel,
    requests: Sequence[Request],
    vector: NDArray[np.floating],
    **sampling: Unpack[Sampling],
) -> list[list[int]]:
    """The completions of `sample_sequences` without the end-of-sequence token."""
    sequences = sample_sequences(lm, requests, vector, **sampling)
    return [[token for token in sequence if token not in lm.ends] for sequence in sequences]


def sample_sequences(
    lm: LanguageModel,
    requests: Sequence[Request],
    vector: NDArray[np.floating],
    **sampling: Unpack[Sampling],
) -> list[list[int]]:
    """Token ids of every request's completion, its end-of-sequence token with it if it has one.

    A completion depends on its request alone, not on the others in its batch: every row has its
    own random stream. Prompts are run once each, whatever the number of their completions.

    Args:
        vector: float [L, d].
    """
    found: list[list[int]] = [[] for _ in requests]
    whole = sampling["positions"] == "all"
    root = (empty_prefix(lm, 1), 0) if whole else run_root(lm, [r.prompt[:-1] for r in requests])

    def run(batch: list[int]) -> list[list[int]]:
        chosen = [requests[number] for number in batch]
        if whole:
            # what is steered differs from row to row, so nothing can be shared
            prefix = empty_prefix(lm, len(chosen))
            rows = [list(request.prompt) for request in chosen]
        else:
            distinct = sorted({tuple(request.prompt[:-1]) for request in chosen})
            where = [distinct.index(tuple(request.prompt[:-1])) for request in chosen]
            shared = run_prefix(lm, root, distinct)
            prefix = shared.select(torch.tensor(where, device=lm.device))
            rows = [list(request.prompt[-1:]) for request in chosen]
        return _decode(lm, chosen, prefix, rows, vector, sampling)

    # a request's rows grow to prompt + completion
    lengths = [len(request.prompt) + sampling["max_new_tokens"] for request in requests]
    # a row keeps keys and values, but makes logits for its last token only: eight times as many
    # tokens fit as in a pass that scores them all, and the more rows share a step the better
    batches = run_batches(lengths, sampling["budget"] * 8, run)
    for batch, completions in progress(batches, len(requests), "completions"):
        for number, completion in zip(batch, completions, strict=True):
            found[number] = completion
    return found


def _decode(
    lm: LanguageModel,
    requests: Sequence[Request],
    prefix: Prefix,
    rows: list[list[int]],
    vector: NDArray[np.floating],
    sampling: Sampling,
) -> list[list[int]]:
    max_new_tokens = sampling["max_new_tokens"]
    device, dtype = lm.device, next(lm.nn._module.parameters()).dtype
    steered = sorted({layer for request in requests for layer in request.layers})
    # [request, 1, 1] the multiplier of each request at each block
    multipliers: Mapping[int, torch.Tensor] = {
        layer: torch.tensor(
            [request.multiplier * (layer in request.layers) for request in requests]
        )[:, None, None].to(device, dtype)
        for layer in steered
    }
    directions = {layer: torch.as_tensor(vector[layer]).to(device, dtype) for layer in steered}
    sampled = torch.tensor([request.stream is not None for request in requests])
    uniforms = torch.tensor(
        np.array(
            [
                stream(*request.stream).random(max_new_tokens)
                if request.stream is not None
                else np.zeros(max_new_tokens)
                for request in requests
            ]
        )
    )
    completions: list[list[int]] = [[] for _ in requests]
    alive = torch.arange(len(requests))
    ids, mask = (part.to(device) for part in padded(rows, lm.pad, side="left"))
    for step in range(max_new_tokens):
        live = alive.to(device)
        add = {layer: multipliers[layer][live] * directions[layer] for layer in steered}
        if sampling["positions"] == "last" and step:
            add = {}
        mask = prefix.extend(mask)
        _, logits = forward(
            lm, ids, mask, prefix.cache, add=add, logits=lambda x: x[:, -1].float().cpu()
        )
        assert logits is not None
        chosen = logits.argmax(-1)
        drawn = sampled[alive]
        if drawn.any():
            uniform = uniforms[alive[drawn], step]
            chosen[drawn] = draw(logits[drawn], uniform, sampling["temperature"], sampling["top_p"])
        going = []
        for row, (request, token) in enumerate(zip(alive.tolist(), chosen.tolist(), strict=True)):
            completions[request].append(token)
            if token not in lm.ends:
                going.append(row)
        if not going:
            break
        keep = torch.tensor(going)
        prefix = Prefix(prefix.cache, mask)
        if len(going) < len(alive):
            prefix = prefix.select(keep.to(device))
        alive, ids = alive[keep], chosen[keep][:, None].to(device)
        mask = torch.ones_like(ids)
    return completions


def sample_plan(
    prompts: Mapping[str, Sequence[int]],
    *,
    layers: tuple[int, ...],
    multipliers: Sequence[float],
    samples: int,
    seed: int,
    behavior: str,
) -> list[tuple[dict[str, Any], Request]]:
    """Every completion of a study: its row in the samples table (without text), and its request.

    Per prompt and multiplier one greedy completion and `samples` seeded ones. The stream of a
    sample is named by (seed, behaviour, prompt id, block, multiplier, sample number), where the
    block is a tuple if several are steered together; the unsteered model's block is -1 whatever
    the block.
    """
    plan = []
    named = layers[0] if len(layers) == 1 else layers
    for prompt_id, ids in prompts.items():
        for multiplier in sorted(map(float, multipliers)):
            block = named if multiplier else UNSTEERED
            for sample in range(-1, samples):
                greedy = sample < 0
                name = (seed, "completion", behavior, prompt_id, block, multiplier, sample)
                row = {
                    "prompt_id": prompt_id,
                    "layer": layers[0] if multiplier else UNSTEERED,
                    "multiplier": multiplier,
                    "decoding": "greedy" if greedy else "sample",
                    "sample": max(sample, 0),
                    "seed": seed,
                }
                steered = layers if multiplier else ()
                plan.append((row, Request(ids, steered, multiplier, None if greedy else name)))
    return plan


def fixed_requests(
    prompt: Sequence[int], *, samples: int, seed: int, behavior: str, contrast: str, prompt_id: str
) -> list[Request]:
    """Samples of the unsteered model after one prompt, each with its own random stream.

    A stream is named by (seed, behaviour, contrast, prompt id, block, multiplier, sample number).
    """
    names = [
        (seed, "fixed completion", behavior, contrast, prompt_id, UNSTEERED, 0.0, sample)
        for sample in range(samples)
    ]
    return [Request(prompt, (), 0.0, name) for name in names]
