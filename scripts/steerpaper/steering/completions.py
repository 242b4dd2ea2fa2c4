"""What is sampled: the completions of a study, and the fixed ones of the unsteered model."""

from collections.abc import Mapping, Sequence
from typing import Any

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Request
from steerpaper.steering.conditions import BEHAVIOR, NO_LAYER


def sample_plan(
    prompts: Mapping[str, Sequence[int]],
    *,
    layers: tuple[int, ...],
    multipliers: Sequence[float],
    samples: int,
    seed: int,
    behavior: str,
    positions: str,
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
            block = named if multiplier else NO_LAYER
            steered = Condition(layers, BEHAVIOR, multiplier, positions=positions)
            for sample in range(-1, samples):
                greedy = sample < 0
                name = (seed, "completion", behavior, prompt_id, block, multiplier, sample)
                row = {
                    "prompt_id": prompt_id,
                    "layer": layers[0] if multiplier else NO_LAYER,
                    "multiplier": multiplier,
                    "decoding": "greedy" if greedy else "sample",
                    "sample": max(sample, 0),
                    "seed": seed,
                }
                condition = steered if multiplier else None
                stream = None if greedy else name
                plan.append((row, Request(ids, condition, stream, prompt_id)))
    return plan


def fixed_requests(
    prompt: Mapping[str, Any], ids: Sequence[int], form: str, *, samples: int, seed: int
) -> list[Request]:
    """Samples of the unsteered model after one prompt, each with its own random stream.

    A stream is named by (seed, behaviour, contrast and form, prompt id, block, multiplier, sample
    number).

    Args:
        prompt: a row of a prompt file.
        ids: its token ids in this form (see `fixed_completions.forms`).
    """
    contrast = prompt["contrast"]
    named = (prompt["behavior"], f"{contrast}, free" if form == "free" else contrast, prompt["id"])
    streams = [
        (seed, "fixed completion", *named, NO_LAYER, 0.0, sample) for sample in range(samples)
    ]
    return [Request(ids, None, stream, prompt["id"]) for stream in streams]
