"""What a study was made from: the workflow's files, configuration, packages, digests."""

import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError
from steerpaper.workflow.files import sha256

# what the workflow consists of; no data, no tests, nothing that a run leaves; of profiles those
# that it brings, since a user's own lie beside them
PARTS = ("Snakefile", "config.schema.yaml", "LICENSE", "CITATION.cff")
FOLDERS = (
    "rules",
    "scripts",
    "envs",
    "profiles/default",
    "profiles/slurm",
    "report",
    "paper",
    "docs",
    "data/published",
)


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
    return {name: sha256(path) for name, path in sorted(files.items())}
