"""Serialized prompts: a rendered text and the two continuations that are compared after it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError

from steerpaper.errors import UserError
from steerpaper.files import read_json
from steerpaper.steering.items import Item, deal_letters
from steerpaper.tokenizer import load_tokenizer

LETTERS = ("A", "B")


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt file.

    Attributes:
        text: the rendered prompt, ready to be continued; tokenised without special tokens added.
        matching, other: the two continuations: "A"/"B" (letters) or the answers' texts (answers).
        n_tokens: length of `text` in tokens.
        boundary: "joint" where text and continuation together tokenise as text then continuation;
            "split" where the tokenizer would merge across the boundary (the ids are concatenated).
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
    n_tokens: int
    boundary: str
    source: str


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered text; the text already holds the special tokens that it needs."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def continuation_ids(tokenizer: Any, text: str, continuation: str) -> tuple[list[int], bool]:
    """Token ids of a continuation in its place after `text`, and whether the model would see it so.

    Where text + continuation tokenises to the text's ids and some more, those are the
    continuation's. Where the tokenizer merges across the boundary, the continuation's own ids
    stand (taken behind a line break, so that no word-initial space is added), and False.
    """
    before, joint = token_ids(tokenizer, text), token_ids(tokenizer, text + continuation)
    if joint[: len(before)] == before:
        return joint[len(before) :], True
    line_break = token_ids(tokenizer, "\n")
    behind = token_ids(tokenizer, "\n" + continuation)
    if behind[: len(line_break)] == line_break:
        return behind[len(line_break) :], False
    return token_ids(tokenizer, continuation), False


def render(tokenizer: Any, question: str, system: str | None, *, source: str) -> str:
    """Render a question up to where the answer begins, as text.

    With a chat template: system prompt (if any), user turn, beginning of the assistant's turn.
    Without: "Input: …" and "Response:", behind the beginning-of-sequence token if the tokenizer
    would add one.

    Raises:
        UserError: the question holds one of the tokenizer's control tokens, or the template takes
            no system prompt.
    """
    for token in tokenizer.all_special_tokens:
        for name, written in (("question", question), ("system prompt", system or "")):
            if token in written:
                raise UserError(f"{source}: the {name} holds the model's control token {token!r}")
    if not tokenizer.chat_template:
        begin = tokenizer("", add_special_tokens=True)["input_ids"][:1]
        begins = tokenizer.bos_token if begin == [tokenizer.bos_token_id] else ""
        return f"{begins}{system + chr(10) if system else ''}Input: {question}\nResponse:"
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": question})
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except (TemplateError, ValueError) as error:
        raise UserError(
            f"{source}: the model's chat template refuses the prompt: {error}"
            + ("; set steering.prompts.system: null" if system else "")
        ) from error
    if system and system not in text:
        raise UserError(
            "steering.prompts.system: the model's chat template leaves the system prompt out; "
            "set it to null or put the text into the questions"
        )
    return text


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
) -> list[Prompt]:
    """Turn one split's items into prompts of one contrast (Panickssery et al. 2023, section 3).

    letters: the question is shown with both choices, the answer is prefilled with "(", and the
    continuations are the letters; A and B are matching equally often. answers: the question is
    shown alone and the continuations are the answers' texts.

    Raises:
        UserError: letters that are not single, different tokens; a prompt longer than the context.
    """
    letters = deal_letters(len(items), seed, behavior, split)
    prompts = []
    for item, letter in zip(items, letters, strict=True):
        question, matching, other = item.question, item.matching, item.other
        if contrast == "letters":
            question = with_choices(item, letter)
            matching, other = letter, LETTERS[letter == "A"]
        text = render(tokenizer, question, system, source=item.source)
        # a template that ends without white space takes the answer behind a space
        space = "" if text[-1:].isspace() or tokenizer.chat_template else " "
        if contrast == "letters":
            text, space = f"{text}{space}(", ""
        matching, other = space + matching, space + other
        ids = [continuation_ids(tokenizer, text, answer) for answer in (matching, other)]
        if contrast == "letters":
            _check_letters(ids[0][0], ids[1][0], item.source)
        n_tokens = len(token_ids(tokenizer, text))
        longest = n_tokens + max(len(answer) for answer, _ in ids)
        if context and longest > context:
            raise UserError(
                f"{item.source}: {longest} tokens with its answer, but the model reads {context}; "
                "shorten the question or remove it"
            )
        prompts.append(
            Prompt(
                id=f"{behavior}-{item.number}",
                behavior=behavior,
                contrast=contrast,
                split=split,
                question=item.question,
                text=text,
                matching=matching,
                other=other,
                n_tokens=n_tokens,
                boundary="joint" if all(joint for _, joint in ids) else "split",
                source=item.source,
            )
        )
    return prompts


def with_choices(item: Item, letter: str) -> str:
    """The item's question followed by both choices; `letter` (A or B) is the matching one's."""
    first, second = (item.matching, item.other) if letter == "A" else (item.other, item.matching)
    return f"{item.question}\n\nChoices:\n (A) {first}\n (B) {second}"


def _check_letters(matching: list[int], other: list[int], source: str) -> None:
    if len(matching) != 1 or len(other) != 1 or matching == other:
        raise UserError(
            f"{source}: this tokenizer does not write the letters A and B after '(' as one token "
            f"each (ids {matching} and {other}); use steering.contrasts: [answers]"
        )


def as_rows(prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """The prompts as plain rows, in the file format's order of keys."""
    return [asdict(prompt) for prompt in prompts]


def load_for_prompts(manifest: str | Path) -> tuple[Any, int | None]:
    """Load the tokenizer beside a model's manifest, and the model's context in tokens."""
    directory = Path(manifest).parent
    config = read_json(directory / "config.json")
    context = config.get("max_position_embeddings") or config.get("n_positions")
    return load_tokenizer(directory), context
