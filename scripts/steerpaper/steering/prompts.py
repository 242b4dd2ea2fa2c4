"""Serialized prompts: a rendered text and the two continuations that are compared after it.

Every text that a study shows to the model is rendered and tokenised here, once; what comes after
reads token ids.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from steerpaper.engine.text import continuation_ids, refuse_control_tokens, token_ids
from steerpaper.engine.turns import Turn, default_system, n_prefilled, render
from steerpaper.errors import UserError
from steerpaper.steering.items import Item
from steerpaper.steering.letters import ASKED, Asked, answers_of, letter_of, with_choices

log = logging.getLogger(__name__)

FOR_AND_AGAINST = ("for", "against")
INSTRUCTION = "Think step by step before you answer."
# what leads from the reasoning to the answer
BRIDGES = {"letters": "\n\nMy answer is (", "answers": "\n\nMy answer:\n"}


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt file.

    Attributes:
        question: without its choices, unless these are shown as its file gives them.
        text: the rendered prompt, ready to be continued; tokenised without special tokens added.
        matching, other: the two continuations: "A"/"B" behind a bracket that ends the text, or
            "(A"/"(B" where the tokenizer has these as one token each (letters), or the answers'
            texts (answers).
        answers: the texts of both answers, whatever the contrast.
        side: the matching answer's letter (letters), or Yes or No in a file whose answers all are
            one of these (answers); else None.
        ids, matching_ids, other_ids: token ids of `text` and of the continuations in their place.
        free_ids: letters behind a bracket: token ids of the prompt without it, for completions in
            which nothing is prefilled; else None.
        boundary: "joint" where text and continuation together tokenise as text then continuation;
            "split" where the tokenizer would merge across the boundary (the ids are concatenated).
        n_tokens: length of `text` in tokens.
        n_prefilled: how many of these stand behind the user's turn and the template's mark of its
            end: a bracket, or what leads to the answer.
        source: file and line of the raw item.
    """

    id: str
    behavior: str
    contrast: str
    split: str
    question: str
    text: str
    matching: str
    other: str
    answers: dict[str, str]
    side: str | None
    ids: list[int]
    matching_ids: list[int]
    other_ids: list[int]
    free_ids: list[int] | None
    boundary: str
    n_tokens: int
    n_prefilled: int
    source: str


def serialize(
    tokenizer: Any,
    items: Sequence[Item],
    *,
    behavior: str,
    contrast: str,
    split: str,
    system: str | None,
    seed: int,
    context: int | None,
    letters: str = "dealt",
) -> list[Prompt]:
    """Turn one split's items into prompts of one contrast (Panickssery et al. 2023, section 3).

    letters: the question is shown with choices, and the continuations are the two answers' letters,
    each one token (see `_letters`). answers: the question is shown alone and the continuations are
    the answers' texts.

    Args:
        letters: how the choices are shown and lettered, of `letters.ASKED`.

    Raises:
        UserError: letters that are not single, different tokens, or that an item does not have; a
            prompt longer than the context.
    """
    by_letter = contrast == "letters"
    asked = ASKED[letters](items, seed, behavior, split) if by_letter else map(_alone, items)
    prompts = []
    for item, one in zip(items, asked, strict=True):
        answers = {"matching answer": item.matching, "other answer": item.other}
        refuse_control_tokens(tokenizer, answers, item.source)
        turn = render(tokenizer, one.shown, system, source=item.source)
        if by_letter:
            placed = _letters(tokenizer, turn, one, item.source)
        else:
            placed = _placed(tokenizer, turn, item.matching, item.other)
        text_ids, turn_ids = (token_ids(tokenizer, text) for text in (placed.text, turn.text))
        n_tokens = len(text_ids)
        longest = n_tokens + max(len(placed.matching_ids), len(placed.other_ids))
        if context and longest > context:
            raise UserError(
                f"{item.source}: {longest} tokens with its answer, but the model reads {context}; "
                "shorten the question or remove it"
            )
        prompts.append(
            Prompt(
                id="-".join([behavior, *filter(None, [item.split]), str(item.number)]),
                behavior=behavior,
                contrast=contrast,
                split=split,
                question=one.question,
                text=placed.text,
                matching=placed.matching,
                other=placed.other,
                answers=answers_of(item),
                side=one.matching if by_letter else item.side,
                ids=text_ids,
                matching_ids=placed.matching_ids,
                other_ids=placed.other_ids,
                free_ids=turn_ids if placed.prefilled else None,
                boundary="joint" if placed.joint else "split",
                n_tokens=n_tokens,
                n_prefilled=n_prefilled(turn_ids, text_ids),
                source=item.source,
            )
        )
    return prompts


def _alone(item: Item) -> Asked:
    """A question that is shown without choices; its answers have no letters."""
    return Asked(item.question, item.question, "", "")


def serialize_all(
    tokenizer: Any,
    parts: Mapping[str, Sequence[Item]],
    contrasts: Sequence[str],
    *,
    behavior: str,
    system: str | None,
    seed: int,
    context: int | None,
    letters: str = "dealt",
) -> dict[tuple[str, str], list[Prompt]]:
    """The prompts of every contrast and split; says where the tokenizer merges over a boundary."""
    found = {}
    for contrast in contrasts:
        for split, items in parts.items():
            found[contrast, split] = prompts = serialize(
                tokenizer,
                items,
                behavior=behavior,
                contrast=contrast,
                split=split,
                system=system,
                seed=seed,
                context=context,
                letters=letters,
            )
            merged = sum(prompt.boundary == "split" for prompt in prompts)
            if merged:
                log.warning(
                    "%s, %s: in %d of %d prompts the model's tokenizer would merge the prompt's "
                    "last token with the answer; their ids are concatenated instead",
                    *(contrast, split, merged, len(prompts)),
                )
    return found


@dataclass(frozen=True)
class _Placed:
    """A text and the two continuations behind it, with their token ids there.

    Attributes:
        joint: whether the tokenizer would make these ids of text and continuation together.
        prefilled: the text ends in an opening bracket that is not the turn's.
    """

    text: str
    matching: str
    other: str
    matching_ids: list[int]
    other_ids: list[int]
    joint: bool
    prefilled: bool = False


def _placed(tokenizer: Any, turn: Turn, matching: str, other: str) -> _Placed:
    """Put two continuations behind a turn.

    The spaces between belong to the continuation, as the tokenizer has them ("▁word"), unless it
    sees them as the text's and not as the continuation's.
    """
    placed = [
        _following(tokenizer, text, lead + matching, lead + other)
        for text, lead in ((turn.text, turn.lead), (turn.text + turn.lead, ""))
    ]
    return next((one for one in placed if one.joint), placed[0])


def _following(tokenizer: Any, text: str, matching: str, other: str) -> _Placed:
    (matching_ids, one), (other_ids, two) = (
        continuation_ids(tokenizer, text, answer) for answer in (matching, other)
    )
    return _Placed(text, matching, other, matching_ids, other_ids, one and two)


def _letters(tokenizer: Any, turn: Turn, asked: Asked, source: str) -> _Placed:
    """The letter of the matching choice, and the other one, as they stand in "(A)".

    Where bracket and letter are one token each (vocabularies derived from cl100k_base: Llama 3,
    Qwen), no text that the model read holds a bracket of its own before a letter, and nothing is
    prefilled. Elsewhere the bracket is prefilled.
    """
    letters = asked.matching, asked.other
    whole = _placed(tokenizer, turn, *(f"({letter}" for letter in letters))
    if whole.joint and _one_token_each(whole):
        return whole
    placed = _following(tokenizer, f"{turn.text}{turn.lead}(", *letters)
    if not _one_token_each(placed):
        raise UserError(
            f"{source}: this tokenizer does not write the letters {' and '.join(sorted(letters))} "
            "after '(' as one token "
            f"each (ids {placed.matching_ids} and {placed.other_ids}); use "
            "steering.contrasts: [answers]"
        )
    return replace(placed, prefilled=True)


def _one_token_each(placed: _Placed) -> bool:
    matching, other = placed.matching_ids, placed.other_ids
    return len(matching) == len(other) == 1 and matching != other


def under_system_prompts(
    tokenizer: Any,
    items: Sequence[Item],
    texts: Mapping[str, str],
    *,
    behavior: str,
    contrast: str,
    seed: int,
    context: int | None,
    without: str | None = None,
    letters: str = "dealt",
) -> list[dict[str, Any]]:
    """Serialize the test items without a system prompt, with the one for and the one against.

    Where the chat template puts a system prompt of its own, "without" is that one, and its name is
    `default`, not `none`.

    Args:
        texts: the behaviour's system prompts, under `for` and `against`.
        without: empty where the template's own is taken out of the study's prompts.

    Returns:
        rows of a prompt file with `system_prompt` (none or default, for, against) and its text,
        `system`; one that cannot be had (the behaviour has none, the model's chat template takes
        none) is one row of `system_prompt` and `note`, the reason.

    Raises:
        UserError: a system prompt holds a control token of the model, or a prompt fails without
            one.
    """
    for name, text in texts.items():
        where = f"behaviors.{behavior}.about: system_prompts.{name}"
        refuse_control_tokens(tokenizer, {"text": text}, where)
    rows: list[dict[str, Any]] = []
    own = default_system(tokenizer) if without is None else None
    plain = "default" if own else "none"
    for name in (plain, *FOR_AND_AGAINST):
        if name != plain and name not in texts:
            note = f"behaviors.{behavior}.about has no system_prompts.{name}"
            rows.append({"system_prompt": name, "note": note})
            continue
        try:
            prompts = serialize(
                tokenizer,
                items,
                behavior=behavior,
                contrast=contrast,
                split="test",
                system=texts[name].strip() if name != plain else without,
                seed=seed,
                context=context,
                letters=letters,
            )
        except UserError as error:
            # what fails without a system prompt is not about system prompts
            if name == plain:
                raise
            rows.append({"system_prompt": name, "note": f"not with this model: {error}"})
            continue
        text = (own or "") if name == plain else texts[name].strip()
        rows += [{"system_prompt": name, "system": text, **row} for row in as_rows(prompts)]
    return rows


def reasoning_prompts(
    tokenizer: Any, prompts: Sequence[Prompt], *, system: str | None, letters: str = "dealt"
) -> list[dict[str, Any]]:
    """Turn prompts into prompts that ask for reasoning before the answer.

    Args:
        letters: how the prompts' choices are lettered, as in `serialize`.

    Returns:
        id, behavior, contrast, split, question, text, ids, bridge (what leads from the reasoning
        to the answer) with bridge_ids, matching_ids, other_ids (behind the bridge), side, source.
    """
    rows = []
    for prompt in prompts:
        answers, shown = prompt.answers, prompt.question
        if prompt.contrast == "letters":
            if letters == "dealt":
                shown = with_choices(shown, answers, str(prompt.side))
            sides = {"matching": prompt.matching, "other": prompt.other}
            answers = {side: letter_of(text) for side, text in sides.items()}
        bridge = BRIDGES[prompt.contrast]
        text = render(tokenizer, f"{shown}\n\n{INSTRUCTION}", system, source=prompt.source).text
        row = {key: getattr(prompt, key) for key in ("id", "behavior", "contrast", "split")}
        rows.append(
            {
                **row,
                "question": prompt.question,
                "text": text,
                "ids": token_ids(tokenizer, text),
                "bridge": bridge,
                # as it is tokenised behind a sentence
                "bridge_ids": continuation_ids(tokenizer, ".", bridge)[0],
                **{
                    f"{side}_ids": continuation_ids(tokenizer, bridge, answer)[0]
                    for side, answer in answers.items()
                },
                "side": prompt.side,
                "source": prompt.source,
            }
        )
    return rows


def open_prompts(
    tokenizer: Any,
    questions: Sequence[str],
    *,
    behavior: str,
    system: str | None,
    context: int | None,
    key: str = "about",
) -> list[dict[str, Any]]:
    """A behaviour's open questions: id, behavior, question, text, n_tokens, ids.

    Args:
        key: of the behaviour, that names the file of the questions.

    Raises:
        UserError: names the question that holds a control token of the model, or is longer than
            its context.
    """
    rows = []
    for number, question in enumerate(questions, 1):
        source = f"behaviors.{behavior}.{key}: open question {number}"
        text = render(tokenizer, question, system, source=source).text
        ids = token_ids(tokenizer, text)
        if context and len(ids) >= context:
            raise UserError(
                f"{source}: {len(ids)} tokens, but the model reads {context}, with its answer; "
                "shorten the question"
            )
        row = {"id": f"{behavior}-open-{number}", "behavior": behavior, "question": question}
        rows.append({**row, "text": text, "n_tokens": len(ids), "ids": ids})
    return rows


def as_rows(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """The prompts as plain rows, in the file format's order of keys."""
    return [asdict(prompt) for prompt in prompts]
