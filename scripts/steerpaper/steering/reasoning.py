"""Chain of thought: the model reasons first, then its two answers are scored.

What follows the prompt has two parts, and either can be steered: the reasoning, from the last
prompt token (whose logits predict its first token) to its last token, and the answer, from the
words that introduce it on. Both together are what `response` steers elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine import needed
from steerpaper.engine.batching import Prefix, Prefixes, filled, kept_width, padded, run_batches
from steerpaper.engine.caches import Change, Site
from steerpaper.engine.condition import Condition
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.generate import Request
from steerpaper.engine.guards import refuse_broken
from steerpaper.engine.intervene import directions_at, steer
from steerpaper.engine.logprobs import sum_logprobs
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.widths import width_of
from steerpaper.errors import UserError
from steerpaper.progress import progress
from steerpaper.steering.conditions import BEHAVIOR, NO_LAYER
from steerpaper.workflow import counts


@dataclass(frozen=True)
class Question:
    """A prompt that asks for reasoning, and the two answers to it, as token ids."""

    id: str
    prompt: list[int]
    bridge: list[int]
    matching: list[int]
    other: list[int]

    @property
    def length(self) -> int:
        """Tokens of all that stands around the reasoning, with the longer answer."""
        answer = max(len(self.matching), len(self.other))
        return len(self.prompt) + len(self.bridge) + answer


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


def questions_of(
    rows: Sequence[Mapping[str, Any]], *, room: int, context: int | None
) -> list[Question]:
    """The rows of a behaviour's reasoning prompts.

    Args:
        room: the most tokens that the reasoning may take.
        context: the longest sequence that the model reads.

    Raises:
        UserError: prompt, reasoning and answer together are longer than the context.
    """
    questions = []
    for row in rows:
        question = Question(
            row["id"], row["ids"], row["bridge_ids"], row["matching_ids"], row["other_ids"]
        )
        longest = question.length + room
        if context and longest > context:
            raise UserError(
                f"{row['source']}: {longest} tokens with reasoning and answer, but the model reads "
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
            block = named if multiplier else NO_LAYER
            steered = Condition(layers, BEHAVIOR, multiplier) if multiplier else None
            for sample in range(samples):
                name = (seed, "reasoning", behavior, question.id, block, multiplier, sample)
                plan.append((number, sample, Request(question.prompt, steered, name, question.id)))
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
    steered = sorted({0.0, *map(float, multipliers)})
    # the last prompt token predicts the answer's first words: it is steered with them
    found = [
        (_row("without", "answer" if m else "none", m, 0), Chain(number, (), m, m))
        for number in sorted({number for number, _, _ in plan})
        for m in steered
    ]
    for (number, sample, request), ids in zip(plan, reasonings, strict=True):
        m = request.condition.multiplier if request.condition else 0.0
        if m:
            parts = [("reasoning", m, m, 0.0), ("both", m, m, m)]
        else:
            parts = [("none", 0.0, 0.0, 0.0)]
            parts += [("answer", a, 0.0, a) for a in steered if a]
        for part, multiplier, during_reasoning, during_answer in parts:
            chain = Chain(number, tuple(ids), during_reasoning, during_answer)
            found.append((_row("sampled", part, multiplier, sample), chain))
    return found


def _row(reasoning: str, steered: str, multiplier: float, sample: int) -> dict[str, Any]:
    return {
        "reasoning": reasoning,
        "steered": steered,
        "multiplier": multiplier,
        "sample": sample,
    }


def chain_table(
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    made: Sequence[tuple[Mapping[str, Any], Chain]],
    scores: NDArray[np.float64],
    layers: Sequence[int],
    seed: int,
) -> pd.DataFrame:
    """One row a chain.

    Args:
        rows: of the behaviour's reasoning prompts, in the questions' order.
        made: of `chains`.
        scores: [chain, 2] log-probability of the matching and the other answer, nats.
        layers: the blocks that are steered.
    """
    table = []
    for (row, chain), (matching, other) in zip(made, scores, strict=True):
        prompt = rows[chain.question]
        letters = prompt["contrast"] == "letters"
        steered = bool(row["multiplier"])
        table.append(
            {
                "prompt_id": prompt["id"],
                "contrast": prompt["contrast"],
                # some vocabularies have the letter and what stands before it in one token
                "matching": tokenizer.decode(prompt["matching_ids"])[-1] if letters else None,
                "layer": layers[0] if steered else NO_LAYER,
                "layers": "+".join(map(str, layers)) if steered else "",
                **row,
                "seed": seed,
                "logprob_matching": matching,
                "logprob_other": other,
                "logit_diff": matching - other,
                "ab_mass": np.exp(matching) + np.exp(other) if letters else np.nan,
                "n_tokens": len(chain.reasoning),
                "text": tokenizer.decode(chain.reasoning, skip_special_tokens=True),
                "n_matching": len(prompt["matching_ids"]),
                "n_other": len(prompt["other_ids"]),
            }
        )
    return pd.DataFrame(table)


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

    Raises:
        UserError: a log-probability is not finite; it names the question and the block.
    """
    lm = lm.for_length(max((_length(questions, chain) for chain in wanted), default=0))
    directions = {
        layer: directions_at({BEHAVIOR: vector}, [BEHAVIOR], layer, lm.like(layer))[0]
        for layer in sorted(layers)
    }
    held = counts.needing(lm.name, lm.n_layers)
    prefixes = Prefixes(lm, [question.prompt[:-1] for question in questions], budget)
    # chains that share question, reasoning and its multiplier
    shared: dict[tuple[int, tuple[int, ...], float], list[int]] = {}
    for number, chain in enumerate(wanted):
        key = (chain.question, chain.reasoning, chain.during_reasoning)
        shared.setdefault(key, []).append(number)
    written = [
        _Written(questions[question].prompt[prefixes.root_length :], reasoning, multiplier)
        for question, reasoning, multiplier in shared
    ]
    of_written = list(shared.values())
    widths = [kept_width(len(one.prompt) + len(one.reasoning)) for one in written]
    found = np.zeros((len(wanted), 2))
    asked: list[tuple[object, list[int]]] = []

    def run(batch: list[int]) -> Prefix:
        return _run_written(prefixes, [written[entry] for entry in batch], directions)

    batches = prefixes.batches(widths, run)
    for batch, prefix in progress(batches, len(written), "reasoned answers"):
        rows = [
            _Answer.of(questions[wanted[number].question], row, number, side, wanted[number])
            for row, entry in enumerate(batch)
            for number in of_written[entry]
            for side in (0, 1)
        ]
        asked += [((batch[row.row], row.multiplier), row.tokens) for row in rows]
        for scored, logprobs in _score_answers(lm, prefix, rows, directions, budget):
            for answer, logprob in zip(scored, logprobs.tolist(), strict=True):
                if not np.isfinite(logprob):
                    chain = wanted[answer.chain]
                    _refuse(lm, questions[chain.question], chain, answer.tokens, directions)
                found[answer.chain, answer.side] = logprob
    held(needed.reasoned([question.prompt for question in questions], shared, asked, lm.n_layers))
    return found


def _length(questions: Sequence[Question], chain: Chain) -> int:
    """Tokens of a chain with its longer answer."""
    question = questions[chain.question]
    answer = max(len(question.matching), len(question.other))
    return len(question.prompt) + len(chain.reasoning) + len(question.bridge) + answer


def _refuse(
    lm: LanguageModel,
    question: Question,
    chain: Chain,
    answer: Sequence[int],
    directions: Mapping[int, Tensor],
) -> NoReturn:
    """End a job at a chain whose answer (the bridge with it) has no finite log-probability."""
    before = len(question.prompt) - 1
    strength = torch.tensor(
        [0.0] * before
        + [chain.during_reasoning] * (1 + len(chain.reasoning))
        + [chain.during_answer] * len(answer)
    )
    edits = _edits(directions, strength[None, :, None])
    what = (
        f"scoring ({question.id}, multiplier {chain.during_reasoning:g} during the reasoning, "
        f"{chain.during_answer:g} during the answer)"
    )
    refuse_broken(lm, [*question.prompt, *chain.reasoning, *answer], edits, what)


def _edits(directions: Mapping[int, Tensor], strength: Tensor) -> dict[Site, Change]:
    """The steering of some rows; the strength is [row, token, 1]."""
    return {
        (layer, RESIDUAL): steer("add", direction, strength)
        for layer, direction in directions.items()
    }


@dataclass(frozen=True)
class _Written:
    """A prompt (after the root), the reasoning behind it, and its multiplier."""

    prompt: Sequence[int]
    reasoning: tuple[int, ...]
    multiplier: float


@dataclass(frozen=True)
class _Answer:
    """One answer of one chain, to be scored.

    Attributes:
        row: of the prefix that it follows.
        chain, side: where its log-probability belongs.
        tokens: the bridge and the answer without its last token.
        start: the column whose logits predict the answer's first token.
        answer: the tokens that are scored.
        multiplier: during the answer.
    """

    row: int
    chain: int
    side: int
    tokens: list[int]
    start: int
    answer: list[int]
    multiplier: float

    @classmethod
    def of(cls, question: Question, row: int, number: int, side: int, chain: Chain) -> "_Answer":
        """An answer of a chain; side 0 is the matching one."""
        answer = question.other if side else question.matching
        tokens = [*question.bridge, *answer[:-1]]
        start = len(question.bridge) - 1
        return cls(row, number, side, tokens, start, answer, chain.during_answer)


def _run_written(
    prefixes: Prefixes, written: Sequence[_Written], directions: Mapping[int, Tensor]
) -> Prefix:
    """Keys and values of prompts and reasonings, steered from the last prompt token on."""

    def edits(batch: list[int], width: int) -> dict[Site, Change]:
        strength = torch.zeros(len(batch), width, 1)
        for row, number in enumerate(batch):
            # left-padded, so that what follows is adjacent
            one = written[number]
            strength[row, width - len(one.reasoning) - 1 :] = one.multiplier
        return _edits(directions, strength)

    return prefixes.run_rows([[*one.prompt, *one.reasoning] for one in written], edits)


def _score_answers(
    lm: LanguageModel,
    prefix: Prefix,
    answers: Sequence[_Answer],
    directions: Mapping[int, Tensor],
    budget: int,
) -> Iterator[tuple[list[_Answer], Tensor]]:
    """Log-probabilities [answer] of some answers at a time."""
    widths = [width_of(len(answer.tokens)) for answer in answers]

    def run(batch: list[int]) -> Tensor:
        width = widths[batch[0]]
        chosen = [answers[entry] for entry in filled(batch, width)]
        ids, mask = padded([answer.tokens for answer in chosen], lm, width)
        targets, target_mask = padded([answer.answer for answer in chosen], lm, width)
        row, start = (
            torch.tensor(column, device=lm.device)
            for column in ([a.row for a in chosen], [a.start for a in chosen])
        )
        strength = torch.tensor([a.multiplier for a in chosen])[:, None, None]
        own = prefix.select(row, room=width)
        with counts.useful(len(batch)):
            _, logprobs = forward(
                lm,
                ids,
                own.extend(mask),
                own.cache,
                edits=_edits(directions, strength),
                logits=lambda x: sum_logprobs(
                    x, torch.arange(len(chosen), device=lm.device), start, targets, target_mask
                ),
            )
        assert logprobs is not None
        return logprobs[: len(batch)].cpu()

    for batch, logprobs in run_batches(widths, budget, run, lm.together):
        yield [answers[entry] for entry in batch], logprobs
