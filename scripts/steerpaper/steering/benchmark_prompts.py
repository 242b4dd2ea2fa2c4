"""Benchmarks' questions as prompts: a rendered text and its choices, any number of them, behind it.

By letters the question is shown with its choices and the continuations are their letters; by
answers it is shown alone and the continuations are the choices' texts. Both stand behind the chat
template's opening as an item's two answers do (see `prompts.serialize`).
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from steerpaper.engine.text import continuation_ids, refuse_control_tokens, token_ids
from steerpaper.engine.turns import Turn, n_prefilled, render
from steerpaper.errors import UserError
from steerpaper.steering.questions import MOST, Question, letter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One line of a benchmark's prompt file.

    Attributes:
        contrast: letters or answers.
        text: the rendered prompt, ready to be continued; tokenised without special tokens added.
        continuations: behind it, one a choice, in the choices' order.
        choices: the choices' texts.
        correct: the place of the correct one.
        ids, continuation_ids: token ids of `text` and of the continuations in their place.
        boundary: "joint" where text and continuations together tokenise as text then continuation;
            "split" where the tokenizer would merge across the boundary.
        n_prefilled: how many of the prompt's tokens stand behind the user's turn.
    """

    id: str
    benchmark: str
    category: str
    contrast: str
    question: str
    text: str
    continuations: list[str]
    choices: list[str]
    correct: int
    ids: list[int]
    continuation_ids: list[list[int]]
    boundary: str
    n_tokens: int
    n_prefilled: int
    source: str


def ask(
    tokenizer: Any,
    questions: Sequence[Question],
    contrasts: Sequence[str],
    *,
    benchmark: str,
    system: str | None,
    context: int | None,
    bad_items: str = "stop",
) -> list[dict[str, Any]]:
    """A benchmark's questions as rows of its prompt file, contrast by contrast.

    Args:
        bad_items: `drop` leaves a question that cannot be asked (control tokens, too long, more
            choices than letters) out of every contrast, and logs it with its reason.

    Raises:
        UserError: such a question where bad_items is `stop`; letters that are not single, different
            tokens; no question that is left.
    """
    found: dict[str, list[Asked]] = {contrast: [] for contrast in contrasts}
    for question in questions:
        try:
            both = [
                _asked(tokenizer, question, contrast, benchmark, system, context)
                for contrast in contrasts
            ]
        except UserError as error:
            if bad_items == "drop":
                log.warning("dropped: %s", error)
                continue
            raise
        for one in both:
            found[one.contrast].append(one)
    for contrast, asked in found.items():
        if not asked:
            raise UserError(f"steering.benchmarks.sets.{benchmark}: every question was dropped")
        merged = sum(one.boundary == "split" for one in asked)
        if merged:
            log.warning(
                "%s, %s: in %d of %d prompts the model's tokenizer would merge the prompt's last "
                "token with an answer; their ids are concatenated instead",
                *(benchmark, contrast, merged, len(asked)),
            )
    return [asdict(one) for asked in found.values() for one in asked]


def _asked(
    tokenizer: Any,
    question: Question,
    contrast: str,
    benchmark: str,
    system: str | None,
    context: int | None,
) -> Asked:
    texts = {f"choice {n}": text for n, text in enumerate(question.choices, 1)}
    refuse_control_tokens(tokenizer, texts, question.source)
    if contrast == "letters":
        turn = render(tokenizer, with_letters(question), system, source=question.source)
        placed = _letters(tokenizer, turn, len(question.choices), question.source)
    else:
        turn = render(tokenizer, question.question, system, source=question.source)
        placed = _placed(tokenizer, turn, question.choices)
    ids = token_ids(tokenizer, placed.text)
    longest = len(ids) + max(map(len, placed.ids))
    if context and longest > context:
        raise UserError(
            f"{question.source}: {longest} tokens with its longest choice, but the model reads "
            f"{context}; leave such questions out (bad_items: drop)"
        )
    return Asked(
        id=f"{benchmark}-{question.number}",
        benchmark=benchmark,
        category=question.category,
        contrast=contrast,
        question=question.question,
        text=placed.text,
        continuations=placed.continuations,
        choices=list(question.choices),
        correct=question.correct,
        ids=ids,
        continuation_ids=placed.ids,
        boundary="joint" if placed.joint else "split",
        n_tokens=len(ids),
        n_prefilled=n_prefilled(token_ids(tokenizer, turn.text), ids),
        source=question.source,
    )


def with_letters(question: Question) -> str:
    """The question followed by its choices with their letters, or as its file writes both.

    Raises:
        UserError: more choices than there are letters.
    """
    if question.written is not None:
        return question.written
    if len(question.choices) > MOST:
        raise UserError(
            f"{question.source}: {len(question.choices)} choices have no letter each (A to Z); ask "
            "by contrasts: [answers], or leave such questions out (bad_items: drop)"
        )
    lines = [f" ({letter(place)}) {text}" for place, text in enumerate(question.choices)]
    return "\n".join([f"{question.question}\n\nChoices:", *lines])


@dataclass(frozen=True)
class _Placed:
    """A text and the continuations behind it, with their token ids there.

    Attributes:
        joint: whether the tokenizer would make these ids of text and continuation together.
    """

    text: str
    continuations: list[str]
    ids: list[list[int]]
    joint: bool

    @property
    def one_token_each(self) -> bool:
        """Whether every continuation is one token, another one each."""
        single = [ids[0] for ids in self.ids if len(ids) == 1]
        return len(set(single)) == len(self.ids)


def _placed(tokenizer: Any, turn: Turn, continuations: Sequence[str]) -> _Placed:
    """Put continuations behind a turn.

    The spaces between belong to the continuation, unless the tokenizer sees them as the text's.
    """
    placed = [
        _behind(tokenizer, text, [lead + one for one in continuations])
        for text, lead in ((turn.text, turn.lead), (turn.text + turn.lead, ""))
    ]
    return next((one for one in placed if one.joint), placed[0])


def _behind(tokenizer: Any, text: str, continuations: Sequence[str]) -> _Placed:
    found = [continuation_ids(tokenizer, text, one) for one in continuations]
    return _Placed(
        text, list(continuations), [ids for ids, _ in found], all(joint for _, joint in found)
    )


def _letters(tokenizer: Any, turn: Turn, n: int, source: str) -> _Placed:
    """The first n letters as they stand in "(A)": behind a prefilled bracket, or with it.

    With it where the vocabulary has bracket and letter as one token each (Llama 3, Qwen).
    """
    letters = [letter(place) for place in range(n)]
    whole = _placed(tokenizer, turn, [f"({one}" for one in letters])
    if whole.joint and whole.one_token_each:
        return whole
    placed = _behind(tokenizer, f"{turn.text}{turn.lead}(", letters)
    if not placed.one_token_each:
        raise UserError(
            f"{source}: this tokenizer does not write the letters A to {letters[-1]} after '(' as "
            f"one token each (ids {placed.ids}); ask by contrasts: [answers]"
        )
    return placed
