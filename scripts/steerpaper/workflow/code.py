"""Which code a result depends on: the modules that a script imports, by what they do.

Snakemake notices an edited script by its time alone, and not an edited module that the script
imports. Rules therefore have the digests of both among their params: an edit re-runs what depends
on it, a comment, another docstring, a fresh clone or a moved one re-run nothing.
"""

import ast
import hashlib
import io
import tokenize
from functools import cache
from pathlib import Path


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
    modules = [
        path
        for path in imported_modules(script, root, *called)
        if helpers or not is_helper(path.relative_to(root / "steerpaper"))
    ]
    return {path.relative_to(root).as_posix(): code_digest(path) for path in (script, *modules)}


@cache
def code_digest(path: Path) -> str:
    """Digest of what a Python file does: its text without comments, docstrings and blank lines."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for start, end in _docstrings(ast.parse(text)):
        lines[start:end] = [""] * (end - start)
    said = "\n".join(line.rstrip() for line in lines if line.strip())
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _docstrings(tree: ast.Module) -> list[tuple[int, int]]:
    """The lines of every docstring, from and to, counted from 0."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (node.body[0].lineno - 1, node.body[0].end_lineno or node.body[0].lineno)
        for node in ast.walk(tree)
        if isinstance(node, holders) and ast.get_docstring(node, clean=False) is not None
    ]


@cache
def imported_modules(script: Path, root: Path, *called: str) -> tuple[Path, ...]:
    """The modules under `root` that a script imports, directly or through another, sorted.

    Args:
        called: modules that the script imports by names that it is given.
    """
    found = {path for name in called for path in _files(name, root)}
    todo = [script, *found]
    while todo:
        names = _imported(todo.pop())
        new = {path for name in names for path in _files(name, root)} - found
        found |= new
        todo += new
    return tuple(sorted(found))


def _files(name: str, root: Path) -> list[Path]:
    """The file of a module under `root`, or of a package; none where it is neither."""
    stem = root.joinpath(*name.split("."))
    return [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """What a file imports, anywhere in it: modules, and names in them, which may be modules too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return tuple(names)


def is_helper(path: Path) -> bool:
    """Whether a module of the library has no say in results: how files, jobs and messages are made.

    So have the engine's that reach a service.

    Args:
        path: relative to the library's folder.
    """
    if path.parts[0] == "workflow" or path.name in ("errors.py", "progress.py"):
        return True
    if path.as_posix() in ("engine/reach.py", "engine/service.py"):
        return True
    return path.name == "__init__.py" and len(path.parts) <= 2
