"""Chain of thought: the model reasons first, then its two answers are scored.

What follows the prompt has two parts, and either can be steered: the reasoning, from the last
prompt token (whose logits predict its first token) to its last token, and the answer, from the
words that introduce it on. Both together are what `response` steers elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.batching import Prefix, padded, run_batches, run_root
from steerpaper.errors import UserError
from steerpaper.model import LanguageModel, forward
from steerpaper.progress import progress
from steerpaper.steering.completions import Request
from steerpaper.steering.conditions import UNSTEERED
from steerpaper.steering.items import Item
from steerpaper.steering.prompts import continuation_ids, render, token_ids, with_choices
from steerpaper.steering.score import sum_logprobs

INSTRUCTION = "Think step by step before you answer."
# what leads from the reasoning to the answer
BRIDGES = {"letters": "\n\nMy answer is (", "answers": "\n\nMy answer:\n"}
STEERED = ("none", "reasoning", "answer", "both")


@dataclass(frozen=True)
class Question:
    """A prompt that asks for reasoning, and the two answers to it, as token ids."""

    id: str
    prompt: list[int]
    bridge: list[int]
    matching: list[int]
    other: list[int]


@dataclass(frozen=True)
class Chain:
    """A question, the reasoning written to it, and the multipliers of the vector in either part.

    Attributes:
        question: its number among the questions.
        reasoning: token ids; may be empty.
        during_reasoning, during_answer: multipliers.
    """

    question: int
    reasoning: tuple[int, ...]
    during_reasoning: float
    during_answer: float


def ask(
    tokenizer: Any,
    items: Sequence[Item],
    matching: Sequence[str],
    *,
    behavior: str,
    contrast: str,
    system: str | None,
    room: int,
    context: int | None,
) -> list[Question]:
    """Turn items into questions that ask for reasoning before the answer.

    Args:
        matching: the matching continuation of every item's prompt: for letters, the letter.
        room: the most tokens that the reasoning may take.
        context: the longest sequence that the model reads.

    Raises:
        UserError: prompt, reasoning and answer together are longer than the context.
    """
    bridge = BRIDGES[contrast]
    questions = []
    for item, letter in zip(items, matching, strict=True):
        letters = contrast == "letters"
        shown = with_choices(item, letter) if letters else item.question
        answers = (
            (letter, "B" if letter == "A" else "A") if letters else (item.matching, item.other)
        )
        text = render(tokenizer, f"{shown}\n\n{INSTRUCTION}", system, source=item.source)
        question = Question(
            f"{behavior}-{item.number}",
            token_ids(tokenizer, text),
            # as it is tokenised behind a sentence
            continuation_ids(tokenizer, ".", bridge)[0],
            *(continuation_ids(tokenizer, bridge, answer)[0] for answer in answers),
        )
        longest = sum(map(len, (question.prompt, question.bridge))) + room
        longest += max(len(question.matching), len(question.other))
        if context and longest > context:
            raise UserError(
                f"{item.source}: {longest} tokens with reasoning and answer, but the model reads "
                f"{context}; lower steering.reasoning.max_new_tokens"
            )
        questions.append(question)
    return questions


def reasoning_plan(
    questions: Sequence[Question],
    *,
    layers: tuple[int, ...],
    multipliers: Sequence[float],
    samples: int,
    seed: int,
    behavior: str,
) -> list[tuple[int, int, Request]]:
    """Every reasoning to sample: number of the question, of the sample, and the request.

    A stream is named by (seed, behaviour, prompt id, block, multiplier, sample number), where the
    block is a tuple if several are steered together and -1 for the unsteered model.
    """
    named = layers[0] if len(layers) == 1 else layers
    plan = []
    for number, question in enumerate(questions):
        for multiplier in sorted({0.0, *map(float, multipliers)}):
            block = named if multiplier else UNSTEERED
            for sample in range(samples):
                name = (seed, "reasoning", behavior, question.id, block, multiplier, sample)
                steered = layers if multiplier else ()
                plan.append((number, sample, Request(question.prompt, steered, multiplier, name)))
    return plan


def chains(
    plan: Sequence[tuple[int, int, Request]],
    reasonings: Sequence[Sequence[int]],
    multipliers: Sequence[float],
) -> list[tuple[dict[str, Any], Chain]]:
    """Every chain to score, with what its row says: reasoning, steered part, multiplier, sample.

    Steering the answer alone or nothing follows the unsteered reasoning; steering the reasoning
    or both follows the reasoning written under the same multiplier. Beside the sampled reasoning
    there is the answer without any, steered or not.
    """
    found = []
    for number in sorted({number for number, _, _ in plan}):
        for multiplier in sorted({0.0, *map(float, multipliers)}):
            steered = "answer" if multiplier else "none"
            row = {
                "reasoning": "without",
                "steered": steered,
                "multiplier": multiplier,
                "sample": 0,
            }
            # the last prompt token predicts the answer's first words: it is steered with them
            found.append((row, Chain(number, (), multiplier, multiplier)))
    for (number, sample, request), ids in zip(plan, reasonings, strict=True):
        written, m = tuple(ids), request.multiplier
        if m:
            parts = [("reasoning", m, m, 0.0), ("both", m, m, m)]
        else:
            parts = [("none", 0.0, 0.0, 0.0)]
            parts += [("answer", a, 0.0, a) for a in sorted(map(float, multipliers)) if a]
        for steered, multiplier, during_reasoning, during_answer in parts:
            row = {
                "reasoning": "sampled",
                "steered": steered,
                "multiplier": multiplier,
                "sample": sample,
            }
            found.append((row, Chain(number, written, during_reasoning, during_answer)))
    return found


def score_chains(
    lm: LanguageModel,
    questions: Sequence[Question],
    wanted: Sequence[Chain],
    vector: NDArray[np.floating],
    layers: Sequence[int],
    budget: int,
) -> NDArray[np.float64]:
    """Log-probability of both answers of every chain, in nats: float64 [chain, 2].

    Prompt and reasoning are run once for all chains that steer them alike, steered as they were
    when the reasoning was written.

    Args:
        vector: float [L, d].
        layers: the blocks that are steered.
        budget: tokens a forward pass may hold.
    """
    root = run_root(lm, [question.prompt[:-1] for question in questions])
    dtype = next(lm.nn._module.parameters()).dtype
    directions = {
        layer: torch.as_tensor(vector[layer]).to(lm.device, dtype) for layer in sorted(layers)
    }
    # chains that share question, reasoning and its multiplier
    shared: dict[tuple[int, tuple[int, ...], float], list[int]] = {}
    for number, chain in enumerate(wanted):
        key = (chain.question, chain.reasoning, chain.during_reasoning)
        shared.setdefault(key, []).append(number)
    written = list(shared)
    found = np.zeros((len(wanted), 2))

    def run(batch: list[int]) -> tuple[list[int], Tensor]:
        prefix = _run_written(lm, root, questions, [written[entry] for entry in batch], directions)
        rows = [
            (row, number, side)
            for row, entry in enumerate(batch)
            for number in shared[written[entry]]
            for side in ("matching", "other")
        ]
        logprobs = torch.zeros(len(rows))
        lengths = [
            len(questions[wanted[number].question].bridge)
            + len(getattr(questions[wanted[number].question], side))
            for _, number, side in rows
        ]

        def run_answers(part: list[int]) -> Tensor:
            return _score_answers(
                lm, prefix, questions, wanted, [rows[entry] for entry in part], directions
            )

        for part, values in run_batches(lengths, budget, run_answers):
            logprobs[part] = values
        return [number for _, number, _ in rows[::2]], logprobs.reshape(-1, 2)

    lengths = [len(questions[question].prompt) + len(ids) for question, ids, _ in written]
    for _, (numbers, logprobs) in progress(
        run_batches(lengths, budget, run), len(written), "reasoned answers"
    ):
        found[numbers] = logprobs.double().numpy()
    return found


def _run_written(
    lm: LanguageModel,
    root: tuple[Prefix, int],
    questions: Sequence[Question],
    written: Sequence[tuple[int, tuple[int, ...], float]],
    directions: Mapping[int, Tensor],
) -> Prefix:
    """Keys and values of prompts and reasonings, steered from the last prompt token on."""
    start, length = root
    prefix = start.select(torch.zeros(len(written), dtype=torch.long, device=lm.device))
    rows = [[*questions[question].prompt[length:], *ids] for question, ids, _ in written]
    # left-padded, so that what follows is adjacent
    ids, mask = padded(rows, lm.pad, side="left")
    weights = torch.zeros(ids.shape)
    for row, (_, reasoning, multiplier) in enumerate(written):
        weights[row, ids.shape[1] - len(reasoning) - 1 :] = multiplier
    mask = prefix.extend(mask.to(lm.device))
    add = {
        layer: weights.to(direction)[:, :, None] * direction
        for layer, direction in directions.items()
    }
    forward(lm, ids.to(lm.device), mask, prefix.cache, add=add)
    return Prefix(prefix.cache, mask)


def _score_answers(
    lm: LanguageModel,
    prefix: Prefix,
    questions: Sequence[Question],
    wanted: Sequence[Chain],
    rows: Sequence[tuple[int, int, str]],
    directions: Mapping[int, Tensor],
) -> Tensor:
    """Log-probabilities [row] of answers, each given as (row of the prefix, chain, side)."""
    asked = [questions[wanted[number].question] for _, number, _ in rows]
    answers = [getattr(question, side) for question, (_, _, side) in zip(asked, rows, strict=True)]
    tokens = [[*q.bridge, *answer[:-1]] for q, answer in zip(asked, answers, strict=True)]
    ids, mask = (part.to(lm.device) for part in padded(tokens, lm.pad))
    targets, target_mask = (part.to(lm.device) for part in padded(answers, lm.pad))
    start = torch.tensor([len(question.bridge) - 1 for question in asked], device=lm.device)
    multiplier = torch.tensor([wanted[number].during_answer for _, number, _ in rows])
    own = prefix.select(torch.tensor([row for row, _, _ in rows], device=lm.device))
    _, logprobs = forward(
        lm,
        ids,
        own.extend(mask),
        own.cache,
        add={
            layer: multiplier.to(direction)[:, None, None] * direction
            for layer, direction in directions.items()
        },
        logits=lambda x: sum_logprobs(
            x, torch.arange(len(rows), device=lm.device), start, targets, target_mask
        ),
    )
    assert logprobs is not None
    return logprobs.cpu()
