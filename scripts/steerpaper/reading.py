"""Files that a user hands over: JSON, JSON Lines, YAML, lines of text; mistakes named by place.

Stricter than the libraries' own readers: what they would keep silently of a key that stands twice,
of NaN, or of half a character is not what the user wrote.
"""

import codecs
import json
import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import yaml

from steerpaper.errors import UserError

# digits of an integer; Python itself refuses to write down more than 4300
DIGITS = 1000
# keys of a YAML mapping, with what is merged into it: mappings merged into each other can multiply
KEYS = 10_000

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
# an escape such as \ud800, which may be half of a pair that stands for one character
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def shown(value: Any) -> str:
    """A value as messages show it: on one line, and no longer than can be read."""
    return _SHORT.repr(value)


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """Open a user's file to be read as bytes.

    Raises:
        UserError: no such file, a folder, or one that cannot be read.
    """
    try:
        source = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; expected a file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{shown(Path(path).name)}: cannot be read: {reason}") from error
    with source:
        yield source


def lines_of(path: str | Path) -> Iterator[tuple[int, bytes]]:
    r"""Every line of a file with its number; only \n ends one (U+2028 may stand inside a text)."""
    with opened(path) as source:
        for number, line in enumerate(source, 1):
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def decoded(line: bytes, where: str) -> str:
    """A line as text.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: cannot be read as UTF-8 text: {error.reason} (byte {error.start + 1})"
        ) from error


def read_text(path: str | Path) -> str:
    """A whole file as text.

    Raises:
        UserError: names the file and the line that is not UTF-8.
    """
    return "".join(decoded(line, f"{path}, line {number}") for number, line in lines_of(path))


@dataclass(frozen=True)
class Record:
    """One record of a JSON Lines file or JSON list.

    Attributes:
        where: file and line, or file and item.
        number: of the line, or of the item.
        line: what stands there; of a list's item, what it says.
    """

    where: str
    number: int
    line: Any

    def value(self) -> Any:
        """What the record says.

        Raises:
            UserError: it is not JSON, or not UTF-8.
        """
        if not isinstance(self.line, bytes):
            return self.line
        text = decoded(self.line.rstrip(), self.where)
        try:
            return _strict_json(text)
        except json.JSONDecodeError as error:
            raise UserError(
                f"{self.where}: not JSON: {error.msg} (column {error.colno}); "
                "expected one JSON object a line"
            ) from error
        except ValueError as error:
            raise UserError(f"{self.where}: {error}") from error


def read_json(path: str | Path) -> Any:
    """What a JSON file says.

    Raises:
        UserError: names the file, and the line of what is not JSON.
    """
    text = read_text(path)
    try:
        return _strict_json(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def records(path: str | Path, name: str | None = None) -> Iterator[Record]:
    """Every record of a JSON Lines file, or JSON list, one after the other.

    A line is read when its record's value is asked for, so that a bad one can be left out.

    Args:
        name: what the file is called in messages, if not by its path.

    Raises:
        UserError: no file that can be read, or a list that is not JSON.
    """
    begun = False
    for number, line in lines_of(path):
        if not line.strip():
            continue
        if not begun and line.lstrip().startswith(b"["):
            for place, item in enumerate(read_json(path), 1):
                yield Record(f"{name or path}, item {place}", place, item)
            return
        begun = True
        yield Record(f"{name or path}, line {number}", number, line)


def _strict_json(text: str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is not JSON (`JSONDecodeError`), or says what a reader would have to guess.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer
        )
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("brackets are nested too deeply to be read") from error
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start]).strip("'")
        raise ValueError(
            f"holds half of a character ({half}); write the character itself"
        ) from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} stands twice; keep one of them")
        found[key] = value
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON; write null or leave the key out")


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of {len(digits)} digits is too long to be read")
    return int(digits)


class _Refused(yaml.MarkedYAMLError):
    """What YAML allows and a reader would have to guess."""


class _StrictYaml(yaml.SafeLoader):
    """Refuses keys that stand twice, half characters, and mappings that grow by being merged."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = (key.tag, key.value)
            if name in seen:
                raise _Refused(
                    problem=f"the key {shown(key.value)} stands twice, first in line "
                    f"{seen[name].line + 1}; keep one of them",
                    problem_mark=key.start_mark,
                )
            seen[name] = key.start_mark
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        try:
            node.value.encode()
        except UnicodeEncodeError as error:
            half = ascii(node.value[error.start]).strip("'")
            raise _Refused(
                problem=f"holds half of a character ({half}); write the character itself",
                problem_mark=node.start_mark,
            ) from error
        return node

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)
        if len(node.value) > KEYS:
            raise _Refused(
                problem=f"more than {KEYS} keys are merged", problem_mark=node.start_mark
            )

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        # what its tag promises and it is not: a date with a 13th month, a number of 5,000 digits
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise _Refused(
                problem=f"{shown(node.value)} is no {node.tag.rpartition(':')[2]}",
                problem_mark=node.start_mark,
            ) from error


class _FastYaml(_StrictYaml):
    """The same in an eighth of the time: libyaml reads, where it is there.

    What is nested is put together here: libyaml's own way ends the process where that is too deep.
    """

    def __init__(self, text: str) -> None:
        super().__init__("")
        events = yaml.CSafeLoader(text)
        for name in ("check_event", "peek_event", "get_event"):
            setattr(self, name, getattr(events, name))


def _loaded(text: str) -> Any:
    if yaml.__with_libyaml__ and "\t" not in text:  # in some places it takes a tab for a space
        with suppress(yaml.YAMLError, RecursionError):
            return yaml.load(text, Loader=_FastYaml)
    # whose messages are shown
    return yaml.load(text, Loader=_StrictYaml)


def read_yaml(path: str | Path) -> Any:
    """What a YAML file says.

    Raises:
        UserError: names the file and line of what is not YAML, of a key that stands twice, and of
            what YAML can name but not make.
    """
    text = read_text(path)
    try:
        return _loaded(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        reason = "" if isinstance(error, _Refused) else "not YAML: "
        raise UserError(f"{place}: {reason}{error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = ord(error.character) if isinstance(error.character, str) else error.character
        raise UserError(
            f"{path}, line {line}: not YAML: holds the control character U+{code:04X}"
        ) from error
    except RecursionError as error:
        raise UserError(f"{path}: not YAML that can be read: nested too deeply") from error
