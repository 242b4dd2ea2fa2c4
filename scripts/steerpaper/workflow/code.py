"""Which code a result depends on: the modules that a script imports, by what they do.

Snakemake notices an edited script by its time alone, and not an edited module that the script
imports. Rules therefore have the digests of both among their params: an edit re-runs what depends
on it, a comment, another docstring, a fresh clone or a moved one re-run nothing.

To read all of the library takes longer than to plan a study. So what was read is noted in the
working folder, by what each file says: an edited file has no note.
"""

import ast
import hashlib
import io
import json
import os
import sys
import tokenize
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass
class Notes:
    """What files were found to do and import, by the digest of what they say.

    Attributes:
        found: by digest of a file's bytes, the digest of what it does, and the names it imports.
        path: where they are noted; None where they are not.
        reader: what read them: another Python, or another way to read, reads anew.
        is_new: is there something that is not noted yet?
    """

    found: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    path: Path | None = None
    reader: str = ""
    is_new: bool = False


NOTES = Notes()


def read_notes(path: Path, *others: Path) -> None:
    """Take what an earlier run has noted of the library's files, and note in `path` what is read.

    Args:
        others: more notes, as of a run in another folder; nothing is written there.
    """
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    NOTES.path, NOTES.reader = path, f"{sys.version_info[:3]} {own}"
    for place in (path, *others):
        # what cannot be read as notes is as good as none
        with suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads(place.read_text(encoding="utf-8"))
            if noted["reader"] == NOTES.reader:
                NOTES.found.update({key: (one[0], one[1]) for key, one in noted["found"].items()})


def write_notes() -> None:
    """Note what was read, for the next run; where nothing can be written, not."""
    if NOTES.path is None or not NOTES.is_new:
        return
    part = NOTES.path.with_name(f"{NOTES.path.name}.{os.getpid()}")
    with suppress(OSError):
        NOTES.path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(
            json.dumps({"reader": NOTES.reader, "found": NOTES.found}), encoding="utf-8"
        )
        os.replace(part, NOTES.path)
        NOTES.is_new = False


@cache
def code_digests(script: Path, root: Path, *called: str, helpers: bool = False) -> dict[str, str]:
    """What a script does, as digests of its own file and of the library's that it imports.

    Args:
        root: the folder of scripts and library.
        called: modules that the script imports by names that it is given.
        helpers: count modules as well that no result depends on, for rules whose work they do.

    Returns:
        digests by path relative to `root`.
    """
    return {
        _relative(path, root): code_digest(path)
        for path in (script, *imported_modules(script, root, *called))
        if path == script or helpers or not _is_helper(path, root)
    }


@cache
def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


@cache
def _is_helper(path: Path, root: Path) -> bool:
    return is_helper(path.relative_to(root / "steerpaper"))


def code_digest(path: Path) -> str:
    """Digest of what a Python file does: its text without comments, docstrings and blank lines."""
    return _read(path)[0]


@cache
def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """The digest of what a file does, and what it imports, anywhere in it.

    That is modules, and names in them, which may be modules too.
    """
    content = path.read_bytes()
    said = hashlib.sha256(content).hexdigest()
    if said not in NOTES.found:
        with path.open(encoding="utf-8") as lines:
            text = lines.read()
        nodes = list(ast.walk(ast.parse(text)))
        NOTES.found[said] = _digest(text, nodes), _names(nodes)
        NOTES.is_new = True
    digest, names = NOTES.found[said]
    return digest, tuple(names)


def _digest(text: str, nodes: list[ast.AST]) -> str:
    lines = text.splitlines()
    if "#" in text:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    for start, end in _docstrings(nodes):
        lines[start:end] = [""] * (end - start)
    said = "\n".join(line.rstrip() for line in lines if line.strip())
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _docstrings(nodes: list[ast.AST]) -> list[tuple[int, int]]:
    """The lines of every docstring, from and to, counted from 0."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (node.body[0].lineno - 1, node.body[0].end_lineno or node.body[0].lineno)
        for node in nodes
        if isinstance(node, holders) and ast.get_docstring(node, clean=False) is not None
    ]


def _names(nodes: list[ast.AST]) -> list[str]:
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


@cache
def imported_modules(script: Path, root: Path, *called: str) -> tuple[Path, ...]:
    """The modules under `root` that a script imports, directly or through another, sorted.

    Args:
        called: modules that the script imports by names that it is given.
    """
    found = {path for name in called for path in _files(name, root)}
    todo = [script, *found]
    while todo:
        new = _imported(todo.pop(), root) - found
        found |= new
        todo += new
    return tuple(sorted(found))


@cache
def _imported(path: Path, root: Path) -> frozenset[Path]:
    """The modules under `root` that a file imports itself."""
    return frozenset(file for name in _read(path)[1] for file in _files(name, root))


@cache
def _files(name: str, root: Path) -> list[Path]:
    """The file of a module under `root`, or of a package; none where it is neither."""
    # most names are of other libraries: their folder is not there
    if not (root / name.partition(".")[0]).is_dir() and "." in name:
        return []
    stem = root.joinpath(*name.split("."))
    return [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]


def is_helper(path: Path) -> bool:
    """Whether a module of the library has no say in results: how files, jobs and messages are made.

    So have the engine's that reach a service, and what measures how fast a model is.

    Args:
        path: relative to the library's folder.
    """
    if path.parts[0] == "workflow" or path.name in ("errors.py", "progress.py"):
        return True
    if path.as_posix() in ("engine/reach.py", "engine/service.py", "engine/limit.py"):
        return True
    return path.name == "__init__.py" and len(path.parts) <= 2
