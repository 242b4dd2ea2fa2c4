"""Jobs that do a part of the study for several behaviours, so that a model is read once for all.

No result depends on which behaviours go together. What is finished keeps the cut that it was made
with, and so is not made anew; what is to be made is cut as the configuration says. Snakemake
removes a job's outputs before it runs: those of a chunk that are still right, by their records, are
kept beside the results meanwhile, and put back by the job instead of being made again.
"""

import json
import logging
import os
import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError
from steerpaper.workflow.files import read_json, sha256, whole, write_json
from steerpaper.workflow.job import Job, about, files_read, paths_of
from steerpaper.workflow.records import Record, checked, portable, record_of

Cuts = dict[str, list[list[str]]]
# of a rule with wildcards: its settings and its code; None where there is no such rule
Told = Callable[[str, Mapping[str, str]], Mapping[str, Any] | None]

CUTS = ".chunks.json"
KEPT = ".kept"


def cut(
    behaviors: Sequence[str],
    size: int,
    before: Sequence[Sequence[str]],
    is_made: Callable[[str], bool],
) -> list[list[str]]:
    """Which behaviours one rule's jobs do together, every behaviour once.

    Args:
        behaviors: what the rule is to be run for.
        size: behaviours a job.
        before: the cut of an earlier run, empty where there was none.
        is_made: is something of a behaviour there, and what the rule would make today?
    """
    made = {name for name in behaviors if is_made(name)}
    known = {name for group in before for name in group}
    kept = [list(group) for group in before if made & set(group) and set(group) <= set(behaviors)]
    # made by a job of its own before behaviours went together
    kept += [[name] for name in behaviors if name in made and name not in known]
    there = {name for group in kept for name in group}
    rest = [name for name in behaviors if name not in there]
    return kept + [rest[start : start + size] for start in range(0, len(rest), size)]


def read_cuts(study: Path) -> Cuts:
    """The cuts of the study's last run, by rule; none where no behaviours went together."""
    try:
        found: Cuts = read_json(study / CUTS)
    except (OSError, ValueError):
        return {}
    return found


def write_cuts(study: Path, cuts: Cuts) -> None:
    """Note the cuts, for the run's own jobs and for later runs."""
    write_json(study / CUTS, cuts)


def made_as_told(study: Path, told: Told) -> Callable[[str], bool]:
    """A function that says of a file whether it was made as the configuration says.

    That is: it is there, its record has the settings and the code that its rule has now, and so
    has all that it was made from, down to the raw data, which has no record: settings hold what it
    says.
    """
    records: dict[str, Record | None] = {}
    seen: dict[str, bool] = {}

    def record(path: str) -> Record | None:
        if path not in records:
            records[path] = record_of(study, path)
        return records[path]

    def is_made(path: str) -> bool:
        if path not in seen:
            seen[path] = False  # no file is made of itself
            seen[path] = found(path, record(path))
        return seen[path]

    def found(path: str, made: Record | None) -> bool:
        if made is None or not Path(path).exists():
            return False
        now = told(made["rule"], made["wildcards"])
        if now is None or any(_plain(now[key]) != made[key] for key in ("settings", "code")):
            return False
        return all(is_read(path, held) for path, held in made["inputs"].items())

    def is_read(path: str, held: str) -> bool:
        made = record(path)
        return made is None or (made["digest"] == held and is_made(path))

    return is_made


def _plain(value: Any) -> Any:
    """As a record has it."""
    return json.loads(json.dumps(portable(value)))


def jobs_of(job: Job[Any]) -> Iterator[Job[Any]]:
    """The jobs that a chunk's job stands for, one a behaviour, as their rule would give them."""
    chunk = job.how["chunk"]
    behaviors = chunk["behaviors"]
    folder = _study(job)
    for number, behavior in enumerate(behaviors):
        wildcards = {"behavior": behavior, **job.wildcards}
        share = number, len(behaviors)
        yield replace(
            job,
            rule=chunk["rule"],
            input=_share(job.input, chunk["input"], share),
            output=_share(job.output, chunk["output"], share),
            wildcards=wildcards,
            log=str(folder / chunk["log"].format(**wildcards)),
            how={key: value for key, value in job.how.items() if key != "chunk"},
        )


def _share(
    files: Mapping[str, Any], own: Mapping[str, bool], share: tuple[int, int]
) -> dict[str, str | list[str]]:
    """One behaviour's files out of those of all.

    Args:
        own: of the files that are a behaviour's own, whether there are several.
        share: which of how many behaviours.
    """
    found = dict(files)
    number, behaviors = share
    for key, several in own.items():
        count = len(files[key]) // behaviors
        mine = files[key][number * count : (number + 1) * count]
        found[key] = mine if several else mine[0]
    return found


def _study(job: Job[Any]) -> Path:
    return next(folder.parent for folder in Path(job.log).parents if folder.name == "logs")


def _place(study: Path, path: str | Path) -> Path:
    return study / KEPT / Path(path).relative_to(study)


def keep(study: Path, paths: Iterable[str | Path]) -> None:
    """Keep files of a study, beside their names, where nothing removes them; what is gone is not.

    A second name for the same file takes no room; a file system without such names has a copy.
    """
    for path in paths:
        place = _place(study, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.{os.getpid()}")
        with suppress(FileNotFoundError):
            try:
                os.link(path, part)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copy2(path, part)
            os.replace(part, place)
        # of two names for one file nothing is replaced
        part.unlink(missing_ok=True)


def forget(study: Path) -> None:
    """Let go of what was kept: all jobs are done."""
    shutil.rmtree(study / KEPT, ignore_errors=True)


def put_back(job: Job[Any]) -> bool:
    """Put back what a behaviour's job made earlier, where it is what the job would make now."""
    study = _study(job)
    outputs = [path for value in job.output.values() for path in paths_of(value)]
    if not all(_place(study, path).is_file() for path in outputs):
        return False
    records = [record_of(study, path) for path in outputs]
    now = _plain({**about(job), "inputs": checked(study, files_read(job))})
    for path, record in zip(outputs, records, strict=True):
        if record is None or any(record[key] != now[key] for key in now):
            return False
        if sha256(_place(study, path)) != record["digest"]:
            return False
    for path in outputs:
        with whole(path) as part:
            try:
                os.link(_place(study, path), part)
            except OSError:
                shutil.copy2(_place(study, path), part)
    return True


@contextmanager
def logged_to(path: str) -> Iterator[None]:
    """Write what is logged, and what ends it, to a log of its own as well."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except Exception as error:
        with open(path, "a", encoding="utf-8") as out:
            if isinstance(error, UserError):
                out.write(f"ERROR: {error}\n")
            else:
                traceback.print_exc(file=out)
        raise
    finally:
        root.removeHandler(handler)
        handler.close()
