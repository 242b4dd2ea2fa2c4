"""Prompts of five kinds: vectors trained under one and used under another (Tan et al. 2024).

Section 5 of arXiv 2407.12404. The kinds are those of dtch1997/repepo at 68f650a,
repepo/experiments/persona_generalization.py, lines 91 to 101: the study's own prompts; a system
prompt for or against the behaviour in the place of the study's; the same text and a blank line
before what the user says, under the study's system prompt. dtch1997/steering-bench at 7c58f81
(experiments/steering_generalization/) leaves out the blank line (persona_prompts.py, line 767, and
steering_bench/core/format.py), runs three of the kinds and leaves the vectors their norms
(run_steering_experiment.py, lines 26 to 32 and 48 to 63).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerpaper.engine.text import refuse_control_tokens
from steerpaper.errors import UserError
from steerpaper.steering.balance import balanced_part
from steerpaper.steering.estimators import estimates
from steerpaper.steering.items import Given, Item
from steerpaper.steering.kinds import BASE, KINDS, Kind
from steerpaper.steering.letters import letter_of
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.vectors import Floats, scaled_to


def texts_of(about: Mapping[str, Any], kinds: Iterable[str], where: str) -> dict[str, str]:
    """The text of every kind but the study's own, as the file about the behaviour has it.

    Args:
        where: the key of that file, and its name.

    Raises:
        UserError: the file has no text for a kind.
    """
    said = about["system_prompts"]
    found = {}
    for kind in kinds:
        if kind == BASE:
            continue
        side = KINDS[kind].side
        if side not in said:
            raise UserError(
                f"{where}: has no system_prompts.{side}, which the kind {kind} of "
                "steering.prompt_kinds needs; add it, or take the behaviour out of "
                "steering.prompt_kinds.behaviors"
            )
        found[kind] = str(said[side]).strip()
    return found


def under_kinds(
    tokenizer: Any,
    splits: Mapping[str, tuple[Sequence[Mapping[str, Any]], int | None]],
    texts: Mapping[str, str],
    *,
    where: str,
    system: str | None,
    seed: int,
    context: int | None,
    letters: str = "dealt",
) -> list[dict[str, Any]]:
    """A balanced part of each split's items as prompts of every kind, the study's own first.

    Args:
        splits: by name, all rows of the split's prompt file, and how many of them; None for all.
        texts: by kind (see `texts_of`).
        where: as in `texts_of`.
        system: the study's system prompt.
        letters: how choices are lettered, as in `serialize`.

    Returns:
        rows of a prompt file with `kind` and its text, `said` (empty for the study's own). A kind
        that cannot be had, since the model's chat template takes no system prompt, is one row of
        `kind` and `note`, the reason.

    Raises:
        UserError: a text holds a control token of the model; a prompt is longer than the context.
    """
    for kind, text in texts.items():
        place = f"{where}: system_prompts.{KINDS[kind].side}"
        refuse_control_tokens(tokenizer, {"text": text}, place)
    parts = {
        split: balanced_part(rows, len(rows) if n is None else n)
        for split, (rows, n) in splits.items()
    }
    found = [{"kind": BASE, "said": "", **row} for part in parts.values() for row in part]
    options = {"system": system, "seed": seed, "context": context, "letters": letters}
    for kind, text in texts.items():
        try:
            made = [
                row
                for split, (rows, _) in splits.items()
                for row in _under(tokenizer, rows, parts[split], KINDS[kind], text, options)
            ]
        except UserError as error:
            # what the user says fits every template
            if KINDS[kind].place == "user":
                raise UserError(f"steering.prompt_kinds, {kind}: {error}") from error
            found.append({"kind": kind, "note": f"not with this model: {error}"})
            continue
        found += [{"kind": kind, "said": text, **row} for row in made]
    return found


def _under(
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    part: Sequence[Mapping[str, Any]],
    kind: Kind,
    text: str,
    options: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The rows of `part` under a kind; letters are dealt over all rows, as they were.

    Raises:
        ValueError: a letter is not the row's.
    """
    first = rows[0]
    in_user = kind.place == "user"
    items = [_item(row, f"{text}\n\n" if in_user else "") for row in rows]
    asked = {**options} if in_user else {**options, "system": text}
    prompts = serialize(
        tokenizer,
        items,
        behavior=first["behavior"],
        contrast=first["contrast"],
        split=first["split"],
        **asked,
    )
    made = {prompt["id"]: prompt for prompt in as_rows(prompts)}
    found = [made[row["id"]] for row in part]
    if any(new["side"] != row["side"] for new, row in zip(found, part, strict=True)):
        raise ValueError("the letters of a prompt are not those of the study's prompt")
    return found


def _item(row: Mapping[str, Any], before: str) -> Item:
    """The item that a prompt was made of, with a text before its question."""
    question = f"{before}{row['question']}"
    number = row["id"].rpartition("-")[2]
    # of a file of its own, the split stands in the prompt's name
    is_own = row["id"] == "-".join([row["behavior"], row["split"], number])
    return Item(
        question=question,
        **row["answers"],
        number=int(number),
        source=row["source"],
        side=row["side"],
        # where letters are as given, the question has its choices
        given=Given(question, letter_of(row["matching"]), letter_of(row["other"])),
        split=row["split"] if is_own else "",
    )


def kind_vectors(
    activations: Mapping[str, tuple[Floats, Floats]],
    layers: Sequence[int],
    steering: Floats,
    *,
    estimator: str,
    norm: str,
) -> dict[str, NDArray[np.float32]]:
    """The vectors of every kind at the steered blocks, by the study's estimator.

    Args:
        activations: by kind, the matching and the other answers', [item, len(layers), d] each.
        steering: [L, d] the vector that steers the study, in its norm and unit.
        norm: `base` gives every kind's vector the norm of the vector that steers the study, so that
            directions are compared (persona_generalization.py, lines 231 to 235); `own` leaves it
            as much longer or shorter than the base kind's as it was trained.

    Returns:
        float32 [L, d] by kind, zero at all other blocks.
    """
    found = {kind: estimates(*both)[estimator] for kind, both in activations.items()}
    norms = {kind: np.linalg.norm(vector, axis=1) for kind, vector in found.items()}
    unit = np.linalg.norm(steering[list(layers)].astype(np.float64), axis=1)
    vectors = {}
    for kind, vector in found.items():
        ratio = np.ones_like(unit)
        if norm == "own":
            there = norms[BASE] > 0
            ratio = np.divide(norms[kind], norms[BASE], out=np.zeros_like(unit), where=there)
        full = np.zeros(steering.shape, dtype=np.float32)
        full[list(layers)] = scaled_to(vector, unit * ratio)
        vectors[kind] = full
    return vectors
