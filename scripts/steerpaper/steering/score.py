"""Scores under steering: log-probabilities of continuations for many (block, multiplier) pairs.

Only what steering can change is run. A prompt's keys and values up to its last token are computed
once and shared by all conditions; the unsteered suffix is run once, and its residual stream after
block l is where the conditions steered at block l enter: blocks 0..l are not run again for them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.batching import Prefix, empty_prefix, padded, run_batches, run_prefix, run_root
from steerpaper.model import LanguageModel, forward
from steerpaper.progress import progress
from steerpaper.steering.conditions import Condition
from steerpaper.steering.pairs import Pair


@dataclass(frozen=True)
class _Rows:
    """Token rows of a batch, and where in them each continuation is scored.

    Continuations of an item that follow the same tokens (two letters) have one row for all.
    """

    item: Tensor  # [row] the prefix's row that comes before
    tokens: list[list[int]]
    row: Tensor  # [score] the row of each continuation
    targets: list[list[int]]
    start: Tensor  # [score] column whose logits predict the first target


def _rows(entries: Iterable[tuple[int, Sequence[int], Sequence[int]]]) -> _Rows:
    """Rows for (row of the prefix, tokens not in the prefix, continuation to score)."""
    items: list[int] = []
    tokens: list[list[int]] = []
    targets: list[list[int]] = []
    rows, starts = [], []
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    for item, before, continuation in entries:
        suffix = (*before, *continuation[:-1])
        if (item, suffix) not in known:
            known[item, suffix] = len(tokens)
            items.append(item)
            tokens.append(list(suffix))
        rows.append(known[item, suffix])
        targets.append(list(continuation))
        starts.append(len(before) - 1)
    return _Rows(torch.tensor(items), tokens, torch.tensor(rows), targets, torch.tensor(starts))


def sum_logprobs(
    logits: Tensor, row: Tensor, start: Tensor, targets: Tensor, mask: Tensor
) -> Tensor:
    """Sum of log p(target) over each continuation's tokens, in nats.

    Args:
        logits: [row, token, V].
        row, start: [score] the row, and the column that predicts the first target.
        targets, mask: [score, target] token ids, and 1 where there is one.

    Returns:
        float32 [score].
    """
    # in parts: the sum needs a copy of what it is given, and logits are large
    parts = logits.flatten(0, 1).split(64)
    normaliser = torch.cat([torch.logsumexp(part.float(), dim=-1) for part in parts])
    normaliser = normaliser.unflatten(0, logits.shape[:2])
    columns = start[:, None] + torch.arange(targets.shape[1], device=logits.device)
    columns = columns.clamp(max=logits.shape[1] - 1)
    logprob = logits[row[:, None], columns, targets].float() - normaliser[row[:, None], columns]
    total: Tensor = (logprob * mask).sum(dim=1)
    return total


def score(
    lm: LanguageModel,
    pairs: Sequence[Pair],
    vectors: Mapping[str, NDArray[np.floating]],
    conditions: Sequence[Condition],
    *,
    positions: str,
    budget: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-probability of both continuations of every pair, unsteered and under every condition.

    The score of Tan et al. 2024 (arXiv 2407.12404), section 3; for letters the two
    log-probabilities differ by exactly the logit difference of A and B.

    Args:
        vectors: float [L, d] per direction.
        positions: `response` steers from the last prompt token on, `last` that token only, `all`
            every token.
        budget: tokens a forward pass may hold.

    Returns:
        unsteered: float64 [pair, 2], matching and other, in nats.
        steered: float64 [pair, condition, 2].
    """
    whole = positions == "all"
    texts = [[] if whole else pair.text[:-1] for pair in pairs]
    root = (empty_prefix(lm, 1), 0) if whole else run_root(lm, texts)
    groups = _by_blocks(conditions)
    unsteered = np.zeros((len(pairs), 2))
    steered = np.zeros((len(pairs), len(conditions), 2))

    def run(batch: list[int]) -> tuple[Tensor, Tensor]:
        # all matching, then all other
        rows = _rows(
            (row, pairs[item].text[0 if whole else -1 :], getattr(pairs[item], side))
            for side in ("matching", "other")
            for row, item in enumerate(batch)
        )
        prefix = run_prefix(lm, root, [texts[item] for item in batch])
        return _score_batch(lm, rows, prefix, vectors, conditions, groups, positions, budget)

    # a prompt's prefix once, or both its suffixes: whichever is longer fills the pass
    lengths = [
        max(len(text) - root[1], 2 * (pair.length - len(text)))
        for pair, text in zip(pairs, texts, strict=True)
    ]
    for batch, (base, moved) in progress(run_batches(lengths, budget, run), len(pairs), "scores"):
        unsteered[batch] = base.double().unflatten(0, (2, len(batch))).T.numpy()
        steered[batch] = moved.double().unflatten(1, (2, len(batch))).permute(2, 0, 1).numpy()
    return unsteered, steered


def score_completions(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[tuple[int, Sequence[int]]],
    vectors: Mapping[str, NDArray[np.floating]],
    conditions: Sequence[Condition],
    *,
    positions: str,
    budget: int,
) -> Iterator[tuple[list[int], NDArray[np.float64]]]:
    """Log-probability of whole completions, unsteered and under every condition, batch by batch.

    A prompt's keys and values are computed once for all of its completions, and no more is held
    than one batch's values.

    Args:
        prompts: token ids.
        completions: the number of the prompt, and the completion's token ids (one or more).
        vectors, conditions, positions, budget: as in `score`.

    Yields:
        the numbers of some completions, and float64 [completion, 1 + condition] in nats, the
        unsteered run first.
    """
    whole = positions == "all"
    texts = [[] if whole else prompt[:-1] for prompt in prompts]
    root = (empty_prefix(lm, 1), 0) if whole else run_root(lm, texts)
    groups = _by_blocks(conditions)
    after = [len(prompts[prompt]) - len(texts[prompt]) + len(ids) for prompt, ids in completions]

    def run_prompts(chosen: list[int]) -> Prefix:
        return run_prefix(lm, root, [texts[prompt] for prompt in chosen])

    for chosen, prefix in run_batches([len(text) for text in texts], budget, run_prompts):
        place = {prompt: row for row, prompt in enumerate(chosen)}
        numbers = [n for n, (prompt, _) in enumerate(completions) if prompt in place]

        def run(
            batch: list[int],
            place: dict[int, int] = place,
            numbers: list[int] = numbers,
            prefix: Prefix = prefix,
        ) -> NDArray[np.float64]:
            rows = _rows(
                (place[prompt], prompts[prompt][len(texts[prompt]) :], ids)
                for prompt, ids in (completions[numbers[entry]] for entry in batch)
            )
            base, moved = _score_batch(
                lm, rows, prefix, vectors, conditions, groups, positions, budget
            )
            found: NDArray[np.float64] = torch.cat([base[None], moved]).T.double().numpy()
            return found

        for batch, values in run_batches([after[number] for number in numbers], budget, run):
            yield [numbers[entry] for entry in batch], values


def _by_blocks(conditions: Sequence[Condition]) -> dict[tuple[int, ...], list[int]]:
    """The numbers of the conditions that steer the same blocks."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, condition in enumerate(conditions):
        groups.setdefault(tuple(sorted(condition.layers)), []).append(number)
    return groups


def _score_batch(
    lm: LanguageModel,
    rows: _Rows,
    prefix: Prefix,
    vectors: Mapping[str, NDArray[np.floating]],
    conditions: Sequence[Condition],
    groups: Mapping[tuple[int, ...], list[int]],
    positions: str,
    budget: int,
) -> tuple[Tensor, Tensor]:
    """Unsteered [score] and steered [condition, score] log-probabilities of one batch."""
    device = lm.device
    item = rows.item.to(device)
    ids, mask = (part.to(device) for part in padded(rows.tokens, lm.pad))
    targets, target_mask = (part.to(device) for part in padded(rows.targets, lm.pad))
    score_row, start = rows.row.to(device), rows.start.to(device)
    dtype = next(lm.nn._module.parameters()).dtype
    # columns begin at the last prompt token, or with the prompt where all of it is steered
    columns = torch.ones(ids.shape[1], device=device, dtype=dtype)
    if positions == "last":
        columns[1:] = 0

    clean = prefix.select(item)
    entries = sorted({layers[0] for layers in groups})
    residual, base = forward(
        lm,
        ids,
        clean.extend(mask),
        clean.cache,
        read={layer: lambda h: h.clone() for layer in entries},
        logits=lambda x: sum_logprobs(x, score_row, start, targets, target_mask),
    )
    assert base is not None
    steered = torch.zeros(len(conditions), len(rows.targets))
    lengths = [len(tokens) for tokens in rows.tokens]

    for layers, numbers in groups.items():
        # [condition of the group, d] for every block
        push = {
            layer: torch.stack(
                [
                    torch.as_tensor(
                        vectors[conditions[n].direction][layer] * conditions[n].multiplier
                    )
                    for n in numbers
                ]
            ).to(device, dtype)
            for layer in layers
        }

        def run(
            batch: list[int], layers: tuple[int, ...] = layers, push: dict[int, Tensor] = push
        ) -> tuple[Tensor, Tensor]:
            # a batch's entry is condition × row; its scores are those of its rows
            which = torch.tensor(batch, device=device)
            condition, row = which // len(lengths), which % len(lengths)
            width = max(lengths[entry % len(lengths)] for entry in batch)
            hits, scores = (row[:, None] == score_row[None, :]).nonzero(as_tuple=True)
            add = {
                layer: push[layer][condition][:, None, :] * columns[None, :width, None]
                for layer in layers
            }
            first = layers[0]
            copy = prefix.select(item[row], from_layer=first + 1)
            _, logprobs = forward(
                lm,
                ids[row, :width],
                copy.extend(mask[row, :width]),
                copy.cache,
                enter=(first, residual[first][row, :width] + add.pop(first)),
                add=add,
                logits=lambda x: sum_logprobs(
                    x, hits, start[scores], targets[scores], target_mask[scores]
                ),
            )
            assert logprobs is not None
            return torch.stack([condition[hits], scores]).cpu(), logprobs.cpu()

        for _, (where, logprobs) in run_batches(lengths * len(numbers), budget, run):
            steered[torch.tensor(numbers)[where[0]], where[1]] = logprobs
    return base.cpu(), steered
