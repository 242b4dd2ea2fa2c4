"""Tokens × blocks that a stage needs by what it is: what rows share counts once.

A token's residual stream follows from the tokens up to it and from what was done to them. So rows
that begin alike need their common beginning once, whatever else is asked of them; and a steered
row needs again what steering can change: the steered tokens and those that follow, through the
blocks behind the first steered one. What is computed is held beside this (`counts.needing`).
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from steerpaper.engine.batching import Ids, shared_length
from steerpaper.engine.condition import Condition, untouched


def beginnings(rows: Iterable[Ids]) -> int:
    """How many different beginnings some rows have, one token long and longer."""
    ordered = sorted(map(tuple, rows))
    return sum(map(len, ordered)) - sum(map(shared_length, pairwise(ordered)))


def apart(rows: Iterable[tuple[object, Ids]]) -> int:
    """`beginnings` of rows that share nothing with rows of another kind, added up.

    Args:
        rows: a kind (what may be a key), and the row.
    """
    of_kind: dict[object, list[Ids]] = {}
    for kind, row in rows:
        of_kind.setdefault(kind, []).append(row)
    return sum(map(beginnings, of_kind.values()))


def scored(
    prompts: Sequence[Ids],
    prefilled: Sequence[int],
    completions: Sequence[tuple[int, Ids]],
    conditions: Sequence[Condition],
    layers: int,
) -> int:
    """Of completions' log-probabilities, unsteered and under every condition.

    Args:
        prompts, prefilled, completions, conditions: as in `score_completions`.
        layers: blocks of the model.
    """
    rows = [(prompt, (*prompts[prompt], *ids[:-1])) for prompt, ids in completions]
    steered: dict[str, int] = {}
    for kind in {condition.positions for condition in conditions}:
        first = [untouched(len(p), n, [kind]) for p, n in zip(prompts, prefilled, strict=True)]
        named = [(*prompt, behind) for prompt, behind in zip(prompts, prefilled, strict=True)]
        steered[kind] = apart((named[prompt], row[first[prompt] :]) for prompt, row in rows)
    again = sum(steered[one.positions] * (layers - 1 - min(one.layers)) for one in conditions)
    return beginnings(row for _, row in rows) * layers + again


def traced(
    prompts: Sequence[Ids], kept: Sequence[int], completions: Sequence[tuple[int, Ids]], layers: int
) -> int:
    """Of gradients: forward what rows share once, and back through each completion's own tokens.

    Args:
        prompts, completions: as in `completion_gradients`.
        kept: how many tokens of every prompt are steered at no block.
        layers: blocks of the model.
    """
    rows = [(*prompts[prompt], *ids[:-1]) for prompt, ids in completions]
    back = sum(len(row) - kept[prompt] for row, (prompt, _) in zip(rows, completions, strict=True))
    return (beginnings(rows) + back) * layers


def sampled(
    prompts: Sequence[tuple[Ids, int, Condition | None]], sequences: Sequence[Ids], layers: int
) -> int:
    """Of completions that were written token by token.

    Args:
        prompts: of every completion the prompt, how much of it is prefilled, and how it is steered.
        sequences: what was written.
        layers: blocks of the model.
    """
    before, written = [], []
    for (prompt, prefilled, condition), sequence in zip(prompts, sequences, strict=True):
        end = len(prompt) - 1
        steered = condition is not None and (
            untouched(len(prompt), prefilled, [condition.positions]) < end
        )
        before.append((condition if steered else None, prompt[:end]))
        written.append(((tuple(prompt), condition), [*prompt[end:], *sequence[:-1]]))
    return (apart(before) + apart(written)) * layers


def reasoned(
    prompts: Sequence[Ids],
    written: Iterable[tuple[int, Ids, float]],
    answers: Iterable[tuple[object, Ids]],
    layers: int,
) -> int:
    """Of answers that are scored after reasonings.

    Args:
        prompts: of the questions.
        written: of every reasoning its question, its tokens and its multiplier.
        answers: what was written before and the multiplier, as a key, and the tokens to run.
        layers: blocks of the model.
    """
    written = list(written)
    before = beginnings({tuple(prompts[question][:-1]) for question, _, _ in written})
    steered = apart(
        ((question, multiplier), (*prompts[question][-1:], *reasoning))
        for question, reasoning, multiplier in written
    )
    return (before + steered + apart(answers)) * layers
