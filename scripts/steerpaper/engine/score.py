"""Scores under steering: log-probabilities of continuations for many (block, multiplier) pairs.

Only what steering can change is run. A prompt's keys and values up to its last token are computed
once and shared by all conditions; the unsteered suffix is run once, and its residual stream after
block l is where the conditions steered at block l enter: blocks 0..l are not run again for them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine import needed
from steerpaper.engine.batching import Prefix, Prefixes, filled, run_batches
from steerpaper.engine.caches import Change
from steerpaper.engine.condition import Condition, untouched
from steerpaper.engine.forward import RESIDUAL, forward, picked
from steerpaper.engine.guards import check_length, named, refuse_broken
from steerpaper.engine.guards import steered as steered_row
from steerpaper.engine.intervene import Vectors, directions_at, steer, strengths
from steerpaper.engine.logprobs import sum_logprobs
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.remote import at_once
from steerpaper.engine.scored_rows import Batch, Row, rows_of
from steerpaper.engine.text import Choice
from steerpaper.engine.widths import LEAST
from steerpaper.progress import progress
from steerpaper.workflow import counts

# conditions that run in the same batches: their blocks, and their intervention
Group = tuple[tuple[int, ...], str]
# keys and values of so many tokens take the room of one that is run
CACHED = 16
# a pass takes the time of so many tokens more than it has, to read the weights (measured on a CPU)
READING = 20
# blocks share passes where that leaves so much of their time
SHARED = 0.8
# scores: completion in the batch, column, value
Scored = tuple[Tensor, Tensor, Tensor]


def score(
    lm: LanguageModel,
    items: Sequence[Choice],
    vectors: Vectors,
    conditions: Sequence[Condition],
    *,
    budget: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-probability of both continuations of every item, unsteered and under every condition.

    Args:
        vectors: float [L, d] for every direction that a condition names.
        budget: tokens a forward pass may hold.

    Returns:
        unsteered: float64 [item, 2], matching and other, in nats.
        steered: float64 [item, condition, 2].
    """
    found = np.zeros((len(items), 2, 1 + len(conditions)))
    both = [
        (number, ids) for number, item in enumerate(items) for ids in (item.matching, item.other)
    ]
    batches = score_completions(
        lm,
        [item.text for item in items],
        both,
        vectors,
        conditions,
        budget=budget,
        names=[item.id for item in items],
        prefilled=[item.prefilled for item in items],
    )
    flat = found.reshape(-1, found.shape[-1])
    for numbers, values in progress(batches, len(both), "scores"):
        flat[numbers] = values
    return found[..., 0], found[..., 1:].transpose(0, 2, 1)


def score_completions(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[tuple[int, Sequence[int]]],
    vectors: Vectors,
    conditions: Sequence[Condition],
    *,
    budget: int,
    names: Sequence[str] | None = None,
    prefilled: Sequence[int] | None = None,
) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
    """Log-probability of whole completions, unsteered and under every condition, batch by batch.

    A prompt's keys and values are computed once for all of its completions, and no more is held
    than one batch's values.

    Args:
        prompts: token ids.
        completions: the number of the prompt, and the completion's token ids (one or more).
        vectors, conditions, budget: as in `score`.
        names: what messages call the prompts.
        prefilled: per prompt, how many of its tokens stand behind the user's turn; by default none.

    Yields:
        the numbers of some completions, and float64 [completion, 1 + condition] in nats, the
        unsteered run first.

    Raises:
        UserError: a prompt with its completion is longer than the context, or a log-probability is
            not finite; it names the prompt, the condition and the block where that begins.
    """
    names = names or [f"prompt {number}" for number in range(1, 1 + len(prompts))]
    for prompt, ids in completions:
        length = len(prompts[prompt]) + len(ids)
        check_length(lm, length, f"{names[prompt]} with what follows it", "shorten it or remove it")
    lm = lm.for_length(max((len(prompts[p]) + len(ids) for p, ids in completions), default=0))
    prefilled = [0] * len(prompts) if prefilled is None else prefilled
    positions = {condition.positions for condition in conditions}
    kept = [
        untouched(len(prompt), behind, positions)
        for prompt, behind in zip(prompts, prefilled, strict=True)
    ]
    held = counts.needing(lm.name, lm.n_layers)
    cut = [(prompt[:end], prompt[end:]) for prompt, end in zip(prompts, kept, strict=True)]
    prefixes = Prefixes(lm, [first for first, _ in cut], budget)
    of_prompt: dict[int, list[Row]] = {}
    for row in rows_of([left for _, left in cut], prefilled, completions):
        of_prompt.setdefault(row.prompt, []).append(row)
    asked = sorted(of_prompt)
    scorer = _Scorer(lm, [ids for _, ids in completions], vectors, conditions, budget)

    def begin(chosen: list[int]) -> Prefix:
        return prefixes.run([asked[number] for number in chosen])

    for chosen, prefix in prefixes.batches([prefixes.widths[n] for n in asked], begin):
        place = {asked[number]: row for row, number in enumerate(chosen)}
        mine = [row for prompt in place for row in of_prompt[prompt]]
        widths = [prefixes.width(row.prompt, len(row.tokens)) for row in mine]

        def run(
            batch: list[int],
            mine: list[Row] = mine,
            widths: list[int] = widths,
            place: dict[int, int] = place,
            prefix: Prefix = prefix,
        ) -> tuple[list[int], NDArray[np.float64]]:
            more = filled(batch, widths[batch[0]])[len(batch) :]
            here = [mine[entry] for entry in batch]
            here += [replace(mine[entry], completions=[]) for entry in more]
            places = torch.tensor([place[row.prompt] for row in here], device=lm.device)
            before = prefix.select(places)
            with counts.useful(len(batch)):
                return scorer.score(here, before, widths[batch[0]])

        for _, (numbers, found) in run_batches(widths, budget, run, lm.together):
            if not np.isfinite(found).all():
                first, column = np.argwhere(~np.isfinite(found))[0]
                prompt, ids = completions[numbers[first]]
                condition = conditions[column - 1] if column else None
                whole = prompts[prompt], ids, prefilled[prompt]
                _refuse(lm, names[prompt], *whole, vectors, condition)
            yield numbers, found
    held(needed.scored(prompts, prefilled, completions, conditions, lm.n_layers))


def _refuse(
    lm: LanguageModel,
    name: str,
    prompt: Sequence[int],
    completion: Sequence[int],
    prefilled: int,
    vectors: Vectors,
    condition: Condition | None,
) -> NoReturn:
    """End a job at a completion whose log-probability is not finite."""
    ids = [*prompt, *completion[:-1]]
    edits = steered_row(lm, vectors, condition, len(ids), len(prompt) - 1, prefilled)
    refuse_broken(lm, ids, edits, f"scoring ({name}, {named(condition)})")


class _Scorer:
    """Scores batches of rows of one width, unsteered and under every condition."""

    def __init__(
        self,
        lm: LanguageModel,
        targets: Sequence[Sequence[int]],
        vectors: Vectors,
        conditions: Sequence[Condition],
        budget: int,
    ) -> None:
        self._lm, self._targets, self._budget = lm, targets, budget
        self._vectors, self._conditions = vectors, conditions
        self._groups: dict[Group, list[int]] = {}
        for number, condition in enumerate(conditions):
            key = (tuple(sorted(condition.layers)), condition.intervention)
            self._groups.setdefault(key, []).append(number)

    def score(
        self, rows: Sequence[Row], before: Prefix, width: int
    ) -> tuple[list[int], NDArray[np.float64]]:
        """The rows' completions, and their float64 [completion, 1 + condition]."""
        lm, device = self._lm, self._lm.device
        batch = Batch.of(rows, self._targets, lm, before, width)
        sets = self._sets(batch.asked * width)
        entered: dict[int, Tensor] = {}

        def unsteered() -> list[Scored]:
            targets = batch.start, batch.targets, batch.target_mask
            clean = before.select(torch.arange(len(rows), device=device), room=width)
            # whole rows that are run anew do not enter at a block
            reads = {(some[0][0][0], RESIDUAL): torch.clone for some in sets}
            residual, base = forward(
                lm,
                batch.ids,
                clean.extend(batch.mask),
                clean.cache,
                reads=reads if lm.how.reuse else {},
                logits=lambda x: sum_logprobs(x, batch.row, *targets),
            )
            assert base is not None
            entered.update({layer: found for (layer, _), found in residual.items()})
            return [(torch.arange(len(base)), torch.zeros(len(base), dtype=torch.long), base.cpu())]

        tasks: list[Callable[[], list[Scored]]] = [unsteered]
        tasks += [partial(self._steered, batch, some, entered, width) for some in sets]
        found = torch.zeros(len(batch.row), 1 + len(self._conditions), dtype=torch.float64)
        for scores, columns, logprobs in chain(*at_once(lm.remote, tasks)):
            found[scores, columns] = logprobs
        return [number for row in rows for number in row.completions], found.numpy()

    def _sets(self, tokens: int) -> list[list[Group]]:
        """Groups that share their passes, those that begin at an earlier block first.

        A pass of few tokens reads all weights for them. So groups of few are run together from
        the first one's block on: rows of the others run some blocks unsteered again, to the same
        bits.

        Args:
            tokens: of all rows, under one condition.
        """

        def time(first: int, tokens: int) -> int:
            return (self._lm.n_layers - 1 - first) * (READING + max(LEAST, tokens))

        sets: list[list[Group]] = []
        held = 0
        for group in sorted(self._groups, key=lambda one: (one[1], one[0])):
            mine = tokens * len(self._groups[group])
            if sets and sets[-1][0][1] == group[1]:
                first = sets[-1][0][0][0]
                apart = time(first, held) + time(group[0][0], mine)
                if time(first, held + mine) < SHARED * apart:
                    sets[-1].append(group)
                    held += mine
                    continue
            sets.append([group])
            held = mine
        return sets

    def _steered(
        self, batch: Batch, groups: list[Group], entered: Mapping[int, Tensor], width: int
    ) -> list[Scored]:
        """Scores of some groups of conditions; `entered` is empty where rows are run anew."""
        lm, intervention = self._lm, groups[0][1]
        numbers = [number for group in groups for number in self._groups[group]]
        chosen = [self._conditions[number] for number in numbers]
        layers = sorted({layer for layers, _ in groups for layer in layers})
        n_rows, first = batch.asked, layers[0]
        names = [condition.direction for condition in chosen]
        push = {
            layer: directions_at(self._vectors, names, layer, lm.like(layer))[:, None]
            for layer in layers
        }
        steers = {layer: torch.tensor([layer in one.layers for one in chosen]) for layer in layers}

        def run(entries: list[int]) -> Scored:
            # an entry is condition × row; its scores are those of its row
            which = torch.tensor(filled(entries, width), device=lm.device)
            condition, row = which // n_rows, which % n_rows
            hits, scores = (row[:, None] == batch.row[None, :]).nonzero(as_tuple=True)
            strength = strengths(
                [chosen[c] for c in condition.tolist()],
                batch.place[row.cpu()],
                [batch.prefilled[r] for r in row.tolist()],
            )
            edit: dict[int, Change] = {}
            for layer, vectors in push.items():
                if (here := steers[layer][condition.cpu()]).any():
                    vector = vectors[condition.to(vectors.device)]
                    edit[layer] = steer(intervention, vector, strength * here[:, None, None])
            enter = None
            if first in entered:
                residual = picked(entered[first], row)
                enter = first, edit.pop(first)(residual) if first in edit else residual
            copy = batch.before.select(row, from_layer=first + 1, room=width)
            targets = batch.start[scores], batch.targets[scores], batch.target_mask[scores]
            asked = {*hits.tolist()}
            with counts.useful([entry in asked for entry in range(len(entries))]):
                _, logprobs = forward(
                    lm,
                    batch.ids[row],
                    copy.extend(batch.mask[row]),
                    copy.cache,
                    enter=enter,
                    edits={(layer, RESIDUAL): change for layer, change in edit.items()},
                    logits=lambda x: sum_logprobs(x, hits, *targets),
                )
            assert logprobs is not None
            return scores.cpu(), 1 + torch.tensor(numbers)[condition[hits].cpu()], logprobs.cpu()

        # an entry has keys and values of its own, of all that it follows
        taken = width + batch.before.mask.shape[1] // CACHED
        batches = run_batches([taken] * (n_rows * len(chosen)), self._budget, run, lm.together)
        return [values for _, values in batches]
