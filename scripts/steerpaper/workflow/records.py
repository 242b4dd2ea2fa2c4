"""What made each results file: a record beside the results, checked before the file is read.

results/<study>/records/<the file's path in the study>.json holds the file's digest, the rule, its
settings and code, and the digests of what was read. So a file that was damaged or edited is noticed
and named, a file that was made under other settings is refused, and a number can be followed back
(`workflow.trace`).
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError
from steerpaper.workflow.files import read_json, sha256, write_json
from steerpaper.workflow.places import named

Record = dict[str, Any]

# what results depend on beside the workflow's own code, where a job has imported it
PACKAGES = ("torch", "transformers", "nnsight", "numpy", "pandas", "sklearn", "matplotlib")


def study_of(log: str | Path) -> Path | None:
    """The folder of results that a job's log lies in: results/<study> of results/<study>/logs/…"""
    for folder in Path(log).parents:
        if folder.name == "logs":
            return folder.parent
    return None


def record_path(study: Path, path: str | Path) -> Path:
    """Where the record of a file lies: with the study; of a model, which studies share, beside it.

    A figure lies in another folder than the study's results, its record does not.
    """
    if Path(path).is_relative_to(study):
        return study / "records" / f"{Path(path).relative_to(study)}.json"
    results = study.parent
    if Path(path).is_relative_to(results):
        return results / ".records" / f"{Path(path).relative_to(results)}.json"
    return study / "records" / f"{os.path.relpath(path, results.parent)}.json"


def record_of(study: Path, path: str | Path) -> Record | None:
    """The record of a file, None where no job left one."""
    place = record_path(study, path)
    try:
        return read_json(place)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        place.unlink(missing_ok=True)
        raise UserError(
            f"{place}: cannot be read as a record ({error}); it was removed: run again"
        ) from error


def portable(value: Any) -> Any:
    """Settings or paths without this machine's folders (see `places.named`)."""
    if isinstance(value, Mapping):
        return {portable(key): portable(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(below) for below in value]
    return named(value) if isinstance(value, str) and os.path.isabs(value) else value


def checked(study: Path, paths: Iterable[str]) -> dict[str, str]:
    """Digests of a job's inputs; one that is not what its job wrote is set aside.

    Raises:
        UserError: names the file and the rule that makes it anew.
    """
    found = {}
    for path in paths:
        record = record_of(study, path)
        try:
            found[path] = sha256(path)
        except FileNotFoundError as error:
            raise UserError(f"{path}: is gone; the same command makes it anew") from error
        if record is not None and record["digest"] != found[path]:
            aside = Path(f"{path}.damaged")
            os.replace(path, aside)
            raise UserError(
                f"{path}: is not what the job of rule {record['rule']} wrote (it was damaged, or "
                f"edited by hand); it is now {aside.name}, and the same command makes it anew"
            )
    return found


def settings_digest(settings: Any) -> str:
    """A short digest of a rule's settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refuse_others(study: Path, expected: Mapping[str, Any]) -> None:
    """Refuse results that were made under other settings than the configuration's.

    Snakemake notices changed settings itself, unless it is told not to (`--rerun-triggers`) or that
    all is up to date (`--touch`).

    Args:
        expected: the settings of the rule that makes a file, by the file's path.

    Raises:
        UserError: names the file and the first setting that differs.
    """
    for path, settings in expected.items():
        record = record_of(study, path)
        if record is None:
            continue
        told = json.loads(json.dumps(settings))
        different = [
            key
            for key in {**told, **record["settings"]}
            if told.get(key) != record["settings"].get(key)
        ]
        if different:
            key = different[0]
            raise UserError(
                f"{path}: was made by rule {record['rule']} with {key} = "
                f"{record['settings'].get(key)!r}, but the configuration says {told.get(key)!r}; "
                "remove the file and run again, or take the old configuration"
            )


def versions() -> dict[str, str]:
    """The versions of Python and of those packages that this process has imported."""
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        **{
            name: str(getattr(sys.modules[name], "__version__", ""))
            for name in PACKAGES
            if name in sys.modules
        },
    }


def write_records(
    study: Path,
    outputs: Iterable[str],
    about: Mapping[str, Any],
    inputs: Mapping[str, str],
    made_with: Mapping[str, str] | None = None,
) -> None:
    """Write the record of every output of a finished job.

    Args:
        about: rule, wildcards, settings and code.
        inputs: digests of what the job has read.
        made_with: versions, where another process than this one has made the outputs.
    """
    found = dict(made_with or versions())
    for path in outputs:
        record = {"digest": sha256(path), **about, "inputs": dict(inputs)}
        write_json(record_path(study, path), {**record, "versions": found})
