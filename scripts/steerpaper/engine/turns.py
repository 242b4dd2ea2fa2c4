"""A prompt as the model's chat template writes it: turns, up to where the answer begins.

Nothing here needs torch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2.exceptions import TemplateError

from steerpaper.engine.template import in_time
from steerpaper.engine.text import refuse_control_tokens
from steerpaper.errors import UserError

log = logging.getLogger(__name__)

# the key of the system prompt that every prompt gets
SYSTEM = "steering.prompts.system"
# a template computes, and fails as computations do
FAILURES = (
    *(TemplateError, ValueError, TypeError, ArithmeticError, LookupError),
    *(AttributeError, RecursionError),
)
# what is rendered to see what a template puts before it
ANSWER = "Fine."


@dataclass(frozen=True)
class Turn:
    """A rendered prompt and what stands between it and the answer's first character.

    Attributes:
        text: up to the answer, without the spaces before it.
        lead: these spaces: most tokenizers make one token of a space and the word behind it.
    """

    text: str
    lead: str


def render(tokenizer: Any, question: str, system: str | None, *, source: str) -> Turn:
    """Render a question up to where the answer begins.

    Without a system prompt (None) a template may put one of its own (see `default_system`); an
    empty one takes that out.

    With a chat template: system prompt (if any), user turn, and the assistant's turn up to its
    content. Without: "Input: …" and "Response:", behind the beginning-of-sequence token if the
    tokenizer would add one.

    Raises:
        UserError: the question or the system prompt holds one of the tokenizer's control tokens,
            or the template refuses one of them, leaves it out or rewrites it.
    """
    refuse_control_tokens(tokenizer, {"question": question}, source)
    refuse_control_tokens(tokenizer, {"system prompt": system or ""}, SYSTEM)
    if not tokenizer.chat_template:
        begin = tokenizer("", add_special_tokens=True)["input_ids"][:1]
        begins = tokenizer.bos_token if begin == [tokenizer.bos_token_id] else ""
        before = system + "\n" if system else ""
        return Turn(f"{begins}{before}Input: {question}\nResponse:", " ")
    own = default_system(tokenizer) if system == "" else None
    turns = [{"role": "system", "content": system or ""}] if system or own else []
    turns.append({"role": "user", "content": question})
    try:
        with in_time(f"{source}: the model's chat template"):
            text = _applied(tokenizer, turns)
            opening = _opening(tokenizer, turns, text)
    except FAILURES as error:
        raise UserError(
            f"{source}: the model's chat template refuses the prompt: {error}"
            + (f"; set {SYSTEM}: null" if system else "")
        ) from error
    if system and system.strip() not in text:
        raise UserError(
            f"{SYSTEM}: the model's chat template leaves the system prompt out; "
            "set it to null or put the text into the questions"
        )
    if own and own in text:
        raise UserError(
            f"{SYSTEM}: the model's chat template puts its own system prompt where it is given an "
            f"empty one ({own!r:.200}); set it to null to keep that, or to another text"
        )
    if question.strip() not in text:
        raise UserError(
            f"{source}: the model's chat template leaves the question out or rewrites it; "
            "take another model, or mend its template"
        )
    if opening is None:
        _say_unknown(str(tokenizer.get_chat_template()))
        return Turn(text, "")
    text += opening
    before = text.rstrip(" ")
    return Turn(before, text[len(before) :])


# stands for a system prompt, to see what a template writes without one
_MARK = "Zq7 stands here."


def default_system(tokenizer: Any) -> str | None:
    """The system prompt that a chat template writes where it is given none; None if it writes none.

    What is there in place of a given one, between the same words.
    """
    if not tokenizer.chat_template:
        return None
    question = {"role": "user", "content": ANSWER}
    try:
        given = _applied(tokenizer, [{"role": "system", "content": _MARK}, question])
        without = _applied(tokenizer, [question])
    except FAILURES:
        return None
    head, found, tail = given.partition(_MARK)
    if not found or not without.startswith(head):
        return None
    # the words behind it, up to the question
    behind, _, _ = tail.partition(ANSWER)
    own, ended, _ = without[len(head) :].partition(behind)
    return own.strip() or None if ended and behind.strip() else None


def _applied(
    tokenizer: Any, turns: Sequence[Mapping[str, str]], *, generation_prompt: bool = True
) -> str:
    text: str = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=generation_prompt
    )
    return text


def _opening(tokenizer: Any, turns: Sequence[Mapping[str, str]], text: str) -> str | None:
    """What the template puts between the prompt that ends in `text` and an answer; None: unknown.

    A template may strip the answer, end the turn behind it, or know no generation prompt, so that
    the turn's header is part of what is found.
    """
    answered = [*turns, {"role": "assistant", "content": ANSWER}]
    try:
        whole = _applied(tokenizer, answered, generation_prompt=False)
    except FAILURES:
        return None
    if not whole.startswith(text):
        return None
    opening, found, _ = whole[len(text) :].partition(ANSWER)
    return opening if found else None


@cache
def _say_unknown(template: str) -> None:
    """Say it once a template, not once a prompt."""
    log.warning(
        "the model's chat template, asked for an assistant's turn, does not continue the prompt "
        "that it writes for a question: answers are put right behind that prompt"
    )


def n_prefilled(turn_ids: Sequence[int], text_ids: Sequence[int]) -> int:
    """How many tokens of a text stand behind the last of a turn that it begins with.

    Where the tokenizer merges the turn's end with what follows, the token that holds both is the
    turn's.
    """
    alike = zip(turn_ids, text_ids, strict=False)
    common = next((n for n, (one, other) in enumerate(alike) if one != other), len(turn_ids))
    last = common - 1 if common == len(turn_ids) else common
    return len(text_ids) - 1 - last
