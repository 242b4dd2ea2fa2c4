"""What a study was made from: the workflow's files, configuration, packages, digests."""

import re
import subprocess
from collections.abc import Iterable
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# what the workflow consists of; no data, no tests, nothing that a run leaves
PARTS = ("Snakefile", "config.schema.yaml", "LICENSE", "CITATION.cff", "data/published_lookups.csv")
FOLDERS = ("rules", "scripts", "envs", "profiles", "report", "docs")


def workflow_files(workflow: Path) -> list[Path]:
    """The files that the workflow consists of, sorted: all that it runs with but a study's data."""
    files = [workflow / part for part in PARTS]
    files += [path for folder in FOLDERS for path in (workflow / folder).rglob("*")]
    return sorted(
        path
        for path in files
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".pyc", ".png")
    )


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

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(workflow), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    try:
        # in a repository, but not of it: a copy within somebody's own project
        git("ls-files", "--error-unmatch", "Snakefile")
        return {
            "commit": git("rev-parse", "HEAD").strip(),
            "changed": git("diff", "--name-only", "--relative", "HEAD").splitlines(),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": []}


def digests(paths: Iterable[str], folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path; a path in `folder` is relative to it."""
    found = {}
    for path in paths:
        with open(path, "rb") as source:
            found[path.removeprefix(f"{folder}/")] = file_digest(source, "sha256").hexdigest()
    return dict(sorted(found.items()))
