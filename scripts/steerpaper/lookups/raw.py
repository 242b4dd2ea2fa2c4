"""Raw texts for the corpus: from the standard library, or a file."""

import ast
import csv
import json
import re
import sysconfig
import tempfile
import textwrap
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from steerpaper.errors import UserError
from steerpaper.lookups.corpus import Raw
from steerpaper.reading import decoded, lines_of, records, shown

# parts of the standard library whose text is code under test, not prose
_NOT_PROSE = {"test", "tests", "idlelib", "turtledemo", "site-packages", "__pycache__"}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# rows of a table that are held at a time while it is read
_ROWS = 1000
# characters of a CSV file's cell; the library's own limit is less than a document may have
_LONGEST = 2**31 - 1


def read_raw(path: str | None, column: str, name: str) -> Iterator[Raw]:
    """Read the raw texts of a file, or without one those of the standard library.

    Args:
        name: what the file is called in messages, and in the texts' sources.

    Raises:
        UserError: nothing there, unreadable, or no such column.
    """
    return file_texts(Path(path), column, name) if path else stdlib_texts()


class RawFile:
    """Texts in a temporary file: drawn in any order, and memory holds only where each begins."""

    def __init__(self, texts: Iterable[Raw], folder: Path) -> None:
        """Write the texts to a file in `folder` that vanishes with this object or its process."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._starts = array("Q")
        for raw in texts:
            self._starts.append(self._file.tell())
            self._file.write(json.dumps([raw.text, raw.source]).encode() + b"\n")
        self._file.flush()  # a full disk is told here

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int, /) -> Raw:
        self._file.seek(self._starts[index])
        return Raw(*json.loads(self._file.readline()))


def stdlib_texts() -> Iterator[Raw]:
    """English prose that comes with Python: pydoc's topics and the library's docstrings.

    Modules are read as text and parsed, none is imported.
    """
    from pydoc_data.topics import topics

    for topic, text in sorted(topics.items()):
        for number, paragraph in enumerate(prose(text), start=1):
            yield Raw(paragraph, f"pydoc_data.topics {topic} {number}")
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        inside = path.relative_to(library)
        if _NOT_PROSE & set(inside.parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # a file in another encoding, or made to be wrong: no prose either way
        for line, doc in docstrings(tree):
            for number, paragraph in enumerate(prose(doc), start=1):
                yield Raw(paragraph, f"{inside.as_posix()}:{line} {number}")


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The docstrings of a module with the lines that they belong to, in `ast.walk`'s order."""
    nodes: deque[ast.AST] = deque([tree])
    while nodes:
        node = nodes.popleft()
        if isinstance(node, _DOCUMENTED) and (doc := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), doc
        # nothing within an expression has one, and most nodes are expressions
        inner = ast.iter_child_nodes(node)
        nodes.extend(child for child in inner if not isinstance(child, ast.expr))


def prose(text: str) -> list[str]:
    """The paragraphs of a text that read as prose, each on one line.

    Headings, code, tables and lists of arguments are left out: a paragraph is kept if it has at
    least 12 words, four of five of them made of letters, and begins like a sentence.
    """
    kept = []
    for block in re.split(r"\n\s*\n", textwrap.dedent(text)):
        if re.search(r"^\s*(>>>|\.\.\.|\.\. |[+|=*-]{3,})", block, flags=re.MULTILINE):
            continue
        words = block.split()
        plain = sum(bool(re.fullmatch(r"[\"'(]*[A-Za-z'-]+[\"').,;:!?]*", word)) for word in words)
        if len(words) >= 12 and plain >= 0.8 * len(words) and re.match(r"[\"'(]*[A-Z]", words[0]):
            kept.append(" ".join(words))
    return kept


def file_texts(path: Path, column: str, name: str) -> Iterator[Raw]:
    """Texts of a .txt (a paragraph each), .jsonl, .csv or .parquet file (a row each).

    Args:
        name: what the file is called in messages, and in the texts' sources.

    Raises:
        UserError: no such file or column, or a line that cannot be read; names file and line.
    """
    if not path.is_file():
        raise UserError(f"lookups.corpus.file.path: no file at {path}")
    readers = {".txt": _text, ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if path.suffix not in readers:
        raise UserError(
            f"lookups.corpus.file.path: {name}: '{path.suffix}' files are not read; "
            f"expected {', '.join(readers)}"
        )
    try:
        for place, text in readers[path.suffix](path, column, name):
            if text is not None and not isinstance(text, str):
                raise UserError(f"{name}:{place}: '{column}' holds {shown(text)}, expected a text")
            yield Raw(text or "", f"{name}:{place}")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: cannot be read as UTF-8 text: {error}") from error
    except (ValueError, OSError, pa.ArrowException) as error:
        raise UserError(f"{name}: cannot be read: {' '.join(str(error).split())}") from error


def _text(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    lines = (
        decoded(line.replace(b"\r\n", b"\n"), f"{name}, line {number}")
        for number, line in lines_of(path)
    )
    filled = (block for text, block in groupby(lines, lambda line: bool(line.strip())) if text)
    for number, paragraph in enumerate(filled, start=1):
        yield number, "".join(paragraph).strip()


def _jsonl(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    for record in records(path, name):
        row = record.value()
        if not isinstance(row, dict) or column not in row:
            held = ", ".join(map(shown, list(row)[:20])) if isinstance(row, dict) else ""
            raise UserError(f"{record.where}: has no key '{column}'; it holds {held or 'no keys'}")
        yield record.number, row[column]


def _csv(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(_LONGEST)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, strict=True)
        try:
            header = next(rows, [])
            _check_column(header, column, name)
            place = header.index(column)
            # the first line is the header
            for number, row in enumerate(filter(None, rows), start=2):
                if len(row) != len(header):
                    raise UserError(
                        f"{name}, line {rows.line_num}: {len(row)} cells, but {len(header)} "
                        "columns; a text with a comma stands in quotation marks"
                    )
                yield number, row[place]
        except csv.Error as error:
            raise UserError(f"{name}, line {rows.line_num}: not CSV: {error}") from error


def _parquet(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    with pq.ParquetFile(path) as source:
        _check_column(source.schema_arrow.names, column, name)
        parts = source.iter_batches(batch_size=_ROWS, columns=[column])
        yield from enumerate((text for part in parts for text in part[0].to_pylist()), start=1)


def _check_column(held: Iterable[str], column: str, name: str) -> None:
    names = list(held)
    if not names:
        raise UserError(f"{name}: the file is empty")
    if column not in names:
        raise UserError(
            f"{name}: has no column '{column}'; it has {', '.join(map(shown, names[:20]))}"
        )
