"""The corpus: raw prompts from the standard library, a file or the hub, as token ids.

Neo et al. 2024 take 10,000 documents of a web corpus to find a neuron's prompts and as many to
test explanations on. By default the text is what every Python ships: real English, no download.
"""

import ast
import hashlib
import json
import logging
import re
import sysconfig
import tempfile
import textwrap
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow.parquet as pq

from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.workflow.files import whole
from steerpaper.workflow.places import named

log = logging.getLogger(__name__)

SPLITS = ("train", "test")
# parts of the standard library whose text is code under test, not prose
_NOT_PROSE = {"test", "tests", "idlelib", "turtledemo", "site-packages", "__pycache__"}
# the formats of hub data sets that are read, the preferred first
_HUB_ENDINGS = (".parquet", ".jsonl", ".csv")
# rows of a table that are held at a time while it is read
_ROWS = 1000


@dataclass(frozen=True)
class Raw:
    """A text and where it came from."""

    text: str
    source: str


@dataclass(frozen=True)
class CorpusPrompt:
    """A corpus prompt.

    Attributes:
        id: unique in the study.
        text: what `ids` say, for people.
        source: where it came from.
        n_tokens: tokens before it was cut.
        cut: it was longer than allowed, and its end was cut off.
        ids: its token ids, without a beginning-of-sequence token; what every later step uses.
    """

    id: str
    text: str
    source: str
    n_tokens: int
    cut: bool
    ids: list[int]


def read_corpus(path: str | Path) -> Iterator[CorpusPrompt]:
    """Read a corpus file that this module wrote, one prompt after the other."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield CorpusPrompt(**json.loads(line))


def ids_of(paths: Iterable[str | Path], wanted: Iterable[str]) -> dict[str, list[int]]:
    """The token ids of some prompts of corpus files, by prompt id."""
    names = set(wanted)
    return {
        prompt.id: prompt.ids
        for path in paths
        for prompt in read_corpus(path)
        if prompt.id in names
    }


def count_prompts(path: str | Path) -> int:
    """Number of prompts in a corpus file."""
    with open(path, encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def write_corpus(
    paths: Mapping[str, str | Path], prompts: Iterable[tuple[str, CorpusPrompt]]
) -> None:
    """Write (split, prompt) pairs to the splits' files as they come: all files appear, or none."""
    with ExitStack() as stack:
        parts = {split: stack.enter_context(whole(path)) for split, path in paths.items()}
        out = {
            split: stack.enter_context(open(part, "w", encoding="utf-8"))
            for split, part in parts.items()
        }
        for split, prompt in prompts:
            out[split].write(json.dumps(asdict(prompt), ensure_ascii=False) + "\n")


# raw texts


def read_raw(source: str, where: Mapping[str, str] | None) -> Iterator[Raw]:
    """Read the raw texts of a configured source, one after the other.

    Args:
        source: `stdlib`, `file` (where: path, column) or `hub` (where: id, revision, split,
            column).

    Raises:
        UserError: nothing there, unreadable, or no such column.
    """
    if source == "stdlib":
        return stdlib_texts()
    assert where is not None
    if source == "file":
        return file_texts(Path(where["path"]), where["column"], named(where["path"]))
    return _hub_texts(where)


class RawTexts(Protocol):
    """Texts by number, such as a list of them."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int, /) -> Raw:
        """One of them."""


class RawFile:
    """Texts in a temporary file: drawn in any order, and memory holds only where each begins."""

    def __init__(self, texts: Iterable[Raw], folder: Path) -> None:
        """Write the texts to a file in `folder` that vanishes with this object or its process."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._starts = array("Q")
        for raw in texts:
            self._starts.append(self._file.tell())
            self._file.write(json.dumps([raw.text, raw.source]).encode() + b"\n")

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
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        for node in ast.walk(tree):
            if isinstance(node, documented) and (doc := ast.get_docstring(node)):
                name = f"{inside.as_posix()}:{getattr(node, 'lineno', 1)}"
                for number, paragraph in enumerate(prose(doc), start=1):
                    yield Raw(paragraph, f"{name} {number}")


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
                raise UserError(f"{name}:{place}: '{column}' holds {text!r}, expected a text")
            yield Raw(text or "", f"{name}:{place}")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is not UTF-8 text: {error}") from error
    except (ValueError, OSError) as error:
        raise UserError(f"{name}: cannot be read: {error}") from error


def _text(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8") as lines:
        filled = (block for text, block in groupby(lines, lambda line: bool(line.strip())) if text)
        for number, paragraph in enumerate(filled, start=1):
            yield number, "".join(paragraph).strip()


def _jsonl(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{name}:{number}: is not JSON: {error}") from error
            if not isinstance(row, dict) or column not in row:
                held = ", ".join(row) if isinstance(row, dict) else "no keys"
                raise UserError(f"{name}:{number}: has no key '{column}'; it holds {held}")
            yield number, row[column]


def _csv(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    _check_column(map(str, pd.read_csv(path, nrows=0)), column, name)
    with pd.read_csv(
        path, chunksize=_ROWS, dtype=str, keep_default_na=False, usecols=[column]
    ) as parts:
        texts = (text for part in parts for text in part[column])
        # the first line is the header
        yield from enumerate(texts, start=2)


def _parquet(path: Path, column: str, name: str) -> Iterator[tuple[int, Any]]:
    with pq.ParquetFile(path) as source:
        _check_column(source.schema_arrow.names, column, name)
        parts = source.iter_batches(batch_size=_ROWS, columns=[column])
        yield from enumerate((text for part in parts for text in part[0].to_pylist()), start=1)


def _check_column(held: Iterable[str], column: str, name: str) -> None:
    names = list(held)
    if column not in names:
        raise UserError(f"{name}: has no column '{column}'; it has {', '.join(map(str, names))}")


def split_files(names: Iterable[str], split: str) -> list[str]:
    """The files of a hub data set that hold a split: Parquet if there is any, else JSON Lines, CSV.

    A file belongs to the split whose name is a word of its path (`data/train-00000-of-00001`).
    """
    known = list(names)
    for ending in _HUB_ENDINGS:
        found = [
            name
            for name in known
            if name.endswith(ending) and split in re.split(r"[/._-]", name.removesuffix(ending))
        ]
        if found:
            return sorted(found)
    return []


def _hub_texts(where: Mapping[str, str]) -> Iterator[Raw]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            where["id"],
            repo_type="dataset",
            revision=where["revision"],
            allow_patterns=[f"*{where['split']}*{ending}" for ending in _HUB_ENDINGS],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"lookups.corpus.hub: {where['id']} at revision {where['revision']} cannot be "
            f"fetched: {str(error).strip().splitlines()[0]}; check the id, the revision and the "
            "network"
        ) from error
    held = (path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.*"))
    files = split_files(held, where["split"])
    if not files:
        raise UserError(
            f"lookups.corpus.hub.split: {where['id']} has no {', '.join(_HUB_ENDINGS)} file whose "
            f"path names the split '{where['split']}'"
        )
    for name in files:
        yield from file_texts(Path(folder) / name, where["column"], f"{where['id']}/{name}")


# prompts


def choose_prompts(
    tokenizer: Any,
    raw: RawTexts,
    *,
    sizes: Mapping[str, int],
    max_tokens: int,
    seed: int,
    counts: Counter[str],
) -> Iterator[tuple[str, CorpusPrompt]]:
    """Draw disjoint train and test prompts by seed: tokenised, cut at the right, no two the same.

    Two texts are the same if their token ids are, after cutting. Prompts come one after the other,
    and of those that came no more is held than a digest each.

    Args:
        sizes: number of prompts a split.
        max_tokens: tokens that a prompt may have.
        counts: filled on the way: texts, looked_at, empty (tokenised to nothing), duplicates, cut
            (among the chosen), and the chosen of every split.

    Yields:
        split and prompt, a whole split after the other.

    Raises:
        UserError: not enough different prompts.
    """
    counts.update({"texts": len(raw), "looked_at": 0, "empty": 0, "duplicates": 0, "cut": 0})
    different = _different(tokenizer, raw, max_tokens, seed, counts)
    for split, size in sizes.items():
        digits = max(5, len(str(size)))  # so that ids sort as numbers do
        for number in range(1, size + 1):
            prompt = next(different, None)
            if prompt is None:
                raise UserError(
                    f"lookups.corpus: {sum(sizes.values())} prompts are asked for ("
                    + ", ".join(f"{split}: {size}" for split, size in sizes.items())
                    + f"), but {len(raw)} texts give {sum(counts[split] for split in sizes)} "
                    f"({counts['empty']} tokenise to nothing, {counts['duplicates']} are "
                    "duplicates); ask for fewer or give more text"
                )
            counts[split] += 1
            yield split, replace(prompt, id=f"{split}-{number:0{digits}d}")


def _different(
    tokenizer: Any, raw: RawTexts, max_tokens: int, seed: int, counts: Counter[str]
) -> Iterator[CorpusPrompt]:
    """All different prompts in an order drawn by seed, without ids."""
    seen: set[bytes] = set()
    for index in stream(seed, "corpus", len(raw)).permutation(len(raw)):
        drawn = raw[int(index)]
        text = drawn.text.strip()
        counts["looked_at"] += 1
        full = tokenizer(text, add_special_tokens=False).input_ids if text else []
        ids = list(full[:max_tokens])
        if not ids:
            counts["empty"] += 1
            continue
        digest = hashlib.blake2b(array("q", ids).tobytes(), digest_size=16).digest()
        if digest in seen:
            counts["duplicates"] += 1
            continue
        seen.add(digest)
        cut = len(full) > len(ids)
        counts["cut"] += cut
        shown = tokenizer.decode(ids) if cut else text
        yield CorpusPrompt("", shown, drawn.source, len(full), cut, ids)
