"""Text and token ids: the tokenizer, control tokens, and continuations in their place.

Nothing here needs torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from steerpaper.engine.folder import context, n_blocks, read_config, reading
from steerpaper.engine.template import try_template
from steerpaper.errors import UserError
from steerpaper.reading import read_text
from steerpaper.workflow.files import read_json


@dataclass(frozen=True)
class Choice:
    """A prompt's token ids and those of the two continuations that are compared after it.

    Attributes:
        prefilled: how many of the prompt's tokens stand behind the user's turn.
    """

    id: str
    text: list[int]
    matching: list[int]
    other: list[int]
    prefilled: int = 0

    @property
    def length(self) -> int:
        """Tokens of the prompt with its longer continuation."""
        return len(self.text) + max(len(self.matching), len(self.other))


def choices(rows: Sequence[Mapping[str, Any]]) -> list[Choice]:
    """The rows of a prompt file, tokenised there, as what is scored."""
    return [
        Choice(
            row["id"], row["ids"], row["matching_ids"], row["other_ids"], row.get("n_prefilled", 0)
        )
        for row in rows
    ]


def load_tokenizer(directory: str | Path) -> Any:
    """Load the tokenizer of a model folder; nothing is fetched and no remote code runs."""
    from transformers import AutoTokenizer

    with reading(f"{directory}: the tokenizer cannot be loaded"):
        return AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )


def load_for_prompts(manifest: str | Path) -> tuple[Any, int | None]:
    """Load the tokenizer beside a model's manifest, and the model's context in tokens."""
    directory = Path(manifest).parent
    return load_tokenizer(directory), context(read_config(directory))


class ModelFolder:
    """What tables need of a model: its name, its size, and what token ids say."""

    def __init__(self, manifest: str | Path) -> None:
        """Read the folder that a manifest lies in."""
        self._folder = Path(manifest).parent
        self.name: str = read_json(manifest)["name"]
        self.n_layers: int = n_blocks(read_config(self._folder))
        self._tokenizer: Any = None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        self._tokenizer = self._tokenizer or load_tokenizer(self._folder)
        text: str = self._tokenizer.decode(ids)
        return text


# the key that says what a model's texts begin with
BEGINNING = "model.beginning"


def beginning(tokenizer: Any, bos: bool | str) -> list[int]:
    """The token ids that every prompt begins with.

    Args:
        bos: true for the beginning-of-sequence token that the tokenizer names, if it names one;
            false for none; or the token's own text, where a model was trained with another one.

    Raises:
        UserError: a text that is no token of the tokenizer's vocabulary.
    """
    if isinstance(bos, str):
        token = tokenizer.get_vocab().get(bos)
        if token is None:
            raise UserError(
                f"{BEGINNING}: {bos!r:.100} is no token of the model's vocabulary; give a token as "
                "the vocabulary has it, or null for the one that the tokenizer names"
            )
        return [int(token)]
    token = tokenizer.bos_token_id
    return [token] if bos and token is not None else []


def begins_with(tokenizer: Any, bos: bool | str) -> str:
    """What every prompt begins with, for people: the token, or why there is none."""
    start = beginning(tokenizer, bos)
    if start:
        return str(tokenizer.convert_ids_to_tokens(start[0]))
    return "nothing: the tokenizer names no token" if bos else "nothing"


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


def control_tokens(tokenizer: Any) -> list[str]:
    """All tokens that mean something to the model itself: turns, files, ends."""
    added = tokenizer.added_tokens_decoder.values()
    return sorted({*tokenizer.all_special_tokens, *(str(t) for t in added if t.special)})


def held_control_token(tokenizer: Any, text: str) -> str | None:
    """A control token that stands in a text, or that the tokenizer makes of it; None if none is.

    A tokenizer may fold case or forms of letters first: then other spellings are the token too.
    """
    tokens = control_tokens(tokenizer)
    for token in tokens:
        if token in text:
            return token
    # what a tokenizer has no token for becomes this one: no control token was written
    ids = set(token_ids(tokenizer, text)) - {tokenizer.unk_token_id}
    found = ids & set(tokenizer.convert_tokens_to_ids(tokens))
    return str(tokenizer.convert_ids_to_tokens(min(found))) if found else None


def refuse_control_tokens(tokenizer: Any, texts: Mapping[str, str], source: str) -> None:
    """Refuse texts that hold one of the model's control tokens: they would change the turns.

    Args:
        texts: by what they are.
        source: where they come from: file and line, or a key.

    Raises:
        UserError: names the place, the text and the token.
    """
    for name, written in texts.items():
        if token := held_control_token(tokenizer, written):
            raise UserError(
                f"{source}: the {name} holds the model's control token {token!r}; take it out, "
                "or write it in another way"
            )


def without_control_tokens(tokenizer: Any, text: str) -> str:
    """A text whose control tokens are cut out, and those that come about by the cut."""
    while token := held_control_token(tokenizer, text):
        if token not in text:
            break
        text = text.replace(token, "")
    return text


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text that is text alone: a control token in it is the characters it shows."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return ids


def use_template(tokenizer: Any, path: str | Path | None) -> None:
    """Let the chat template (Jinja) in a file stand in the place of the tokenizer's own.

    Args:
        path: of the file; without one the tokenizer keeps its own.

    Raises:
        UserError: no text that can be read, or a template that cannot be used (see `try_template`).
    """
    if not path:
        return
    template = read_text(path)
    if not template.strip():
        raise UserError(
            f"{path}: the file is empty; expected a chat template (Jinja), or set "
            "model.chat_template: null for the model's own"
        )
    tokenizer.chat_template = template
    try_template(str(path), tokenizer)


# what a chat template may ask of a date: strftime's letters, those of the time of day too
_DIRECTIVES = "aAbBcCdDefFgGhHIjklmMpPrRSTuUVwWxXyYzZ"


def fix_date(tokenizer: Any, date: str) -> None:
    """Let the tokenizer's chat template see `date`, whatever the day is.

    Templates ask for the day (`strftime_now`), or read `date_string` and have a date of their own
    where there is none. Both are defined before the template's first line, and only for a template
    that names them: another one stays as it is. Where a template would make its `date_string` by
    `strftime_now`, in its own format, it still does.

    Args:
        date: YYYY-MM-DD.
    """
    template = tokenizer.chat_template
    if isinstance(template, dict):
        tokenizer.chat_template = {name: _dated(text, date) for name, text in template.items()}
    elif template:
        tokenizer.chat_template = _dated(template, date)


def _dated(template: str, date: str) -> str:
    moment = datetime.fromisoformat(date)
    if "strftime_now" in template:
        # a macro stands before the function of the same name that transformers has
        values = {
            f"%{flag}{letter}": moment.strftime(f"%{flag}{letter}")
            for letter in _DIRECTIVES
            for flag in ("", "-")
        }
        # %% is a percent sign and begins no directive
        values = {"%%": "\0", **values, "\0": "%"}
        replaced = "".join(f"|replace({old!r}, {new!r})" for old, new in values.items())
        macro = f"{{% macro strftime_now(format) %}}{{{{ format{replaced} }}}}{{% endmacro %}}"
        return f"{macro}\n{template}"
    if "date_string" in template:
        return f"{{% set date_string = {moment.strftime('%d %b %Y')!r} %}}\n{template}"
    return template
