"""What a result depends on: code, configuration, packages, files."""

import ast
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError

# what the workflow consists of; no data, no tests, nothing that a run leaves; of profiles those
# that it brings, since a user's own lie beside them
PARTS = ("Snakefile", "config.schema.yaml", "LICENSE", "CITATION.cff", "data/published_lookups.csv")
FOLDERS = ("rules", "scripts", "envs", "profiles/default", "profiles/slurm", "report", "docs")


def workflow_files(workflow: Path) -> list[Path]:
    """The files that the workflow consists of, sorted: all that it runs with but a study's data.

    In a git repository of its own these are tracked: what a user put beside them stays out.

    Raises:
        UserError: it is a repository, but git cannot say what is tracked.
    """
    files = [workflow / part for part in PARTS]
    files += [path for folder in FOLDERS for path in (workflow / folder).rglob("*")]
    tracked = _tracked(workflow)
    return sorted(
        path
        for path in files
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix not in (".pyc", ".png")
        and (tracked is None or path.relative_to(workflow).as_posix() in tracked)
    )


def _tracked(workflow: Path) -> set[str] | None:
    """The files of the workflow's folder that git tracks; None where it is in no repository."""
    try:
        if _git(workflow, "ls-files", "--", "Snakefile"):
            return {*_git(workflow, "ls-files", "-z").split("\0")}
        # a copy within somebody's own project, which has its files to itself
        return None
    except (OSError, subprocess.CalledProcessError) as error:
        if not (workflow / ".git").exists():
            return None
        raise UserError(
            "the workflow's folder is a git repository, but git does not say which files are "
            f"tracked ({_said(error)}); an archive holds no others: see that "
            "`git ls-files` works there"
        ) from error


def _git(workflow: Path, *arguments: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(workflow), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _said(error: OSError | subprocess.CalledProcessError) -> str:
    return " ".join(str(getattr(error, "stderr", "") or error).split())


@cache
def imported_modules(script: Path, root: Path, *called: str) -> tuple[Path, ...]:
    """The modules under `root` that a script imports, directly or through another, sorted.

    Args:
        called: modules that the script imports by names that it is given.

    Snakemake notices an edited script, but not an edited module that the script imports: rules
    name these files as inputs.
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


def _imported(path: Path) -> list[str]:
    """What a file imports, anywhere in it: modules, and names in them, which may be modules too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def is_helper(path: Path) -> bool:
    """Whether a module of the library has no say in results: how files, jobs and messages are made.

    Args:
        path: relative to the library's folder.
    """
    if path.parts[0] == "workflow" or path.name in ("errors.py", "progress.py"):
        return True
    return path.name == "__init__.py" and len(path.parts) <= 2


def without_folder(value: Any, folder: Path) -> Any:
    """A configuration whose paths in `folder` are relative to it: the same on every machine."""
    if isinstance(value, dict):
        return {key: without_folder(below, folder) for key, below in value.items()}
    if isinstance(value, list):
        return [without_folder(below, folder) for below in value]
    return value.removeprefix(f"{folder}/") if isinstance(value, str) else value


def installed(lock: Path) -> dict[str, str]:
    """The packages that a lock names and that are installed, with the versions that are."""
    found = {}
    for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit(workflow: Path) -> dict[str, Any]:
    """The commit of the workflow's folder, None where it has none, and its files changed since."""
    try:
        # in a repository, but not of it: a copy within somebody's own project
        _git(workflow, "ls-files", "--error-unmatch", "Snakefile")
        return {
            "commit": _git(workflow, "rev-parse", "HEAD").strip(),
            "changed": _git(workflow, "diff", "--name-only", "--relative", "HEAD").splitlines(),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": []}


def digests(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of every file, by the name that it is given here."""
    found = {}
    for name, path in sorted(files.items()):
        with open(path, "rb") as source:
            found[name] = file_digest(source, "sha256").hexdigest()
    return found
