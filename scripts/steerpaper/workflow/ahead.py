"""Figures that one job draws for others of the same run, since it has imported what draws.

To import what draws takes longer than to draw. So when a run begins, its figures' jobs are noted
(`plan`). A job that has drawn its own figure draws those of the others whose tables are there,
beside the results, and their jobs put them in their places instead of drawing them. A drawing is
taken only where it is what the job would make: of the same settings, code and tables, by digests.
"""

import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from steerpaper.workflow import records
from steerpaper.workflow.files import read_json, sha256, whole, write_json
from steerpaper.workflow.job import Job, about, files_read, paths_of, recorded

log = logging.getLogger("steerpaper")

FOLDER = ".drawn"
PLAN = "plan.json"
MADE = "made.json"
LOG = "log"
LONG = 120  # seconds after which a job begins no further figure of another


def plan(study: Path, jobs: Iterable[Mapping[str, Any]], made: Iterable[str]) -> None:
    """Note the figures' jobs of the run that begins; nothing where there is one at most.

    Args:
        jobs: what a `Job` is given, by name, of each.
        made: all files that the run makes: a table among them is not there before it is made.
    """
    forget(study)
    to_come = {*made}
    noted = [
        {**job, "new": sorted({*files_read(_job(job))} & to_come)}  # none is drawn of an old table
        for job in jobs
    ]
    if len(noted) > 1:
        write_json(study / FOLDER / PLAN, {"jobs": noted})


def forget(study: Path) -> None:
    """Let go of what was drawn for others, and of the plan."""
    shutil.rmtree(study / FOLDER, ignore_errors=True)


def drawn(main: Callable[[Job[Any]], None], job: Job[Any]) -> None:
    """Run `main`, unless another job has drawn this one's figure; then draw for others."""
    study = records.study_of(job.log)
    if study is None or not (study / FOLDER / PLAN).is_file():
        return recorded(main, job)
    if put_in_place(study, job):
        return
    _claim(study, job)
    recorded(main, job)
    draw_for_others(main, study, job)


def put_in_place(study: Path, job: Job[Any]) -> bool:
    """Put a job's figure in its place, where it was drawn and is what the job would make."""
    place = _place(study, job)
    try:
        made = read_json(place / MADE)
    except (OSError, ValueError):
        return False
    read = records.checked(study, files_read(job))
    now = _plain({**about(job), "inputs": read})
    outputs = {path: place / Path(path).name for path in _outputs(job)}
    if made["about"] != now or any(
        not kept.is_file() or sha256(kept) != made["digests"].get(kept.name)
        for kept in outputs.values()
    ):
        return False
    for path, kept in outputs.items():
        with whole(path) as part:
            shutil.copyfile(kept, part)
    log.info("drawn by the job of %s", made["by"])
    with suppress(OSError), open(job.log, "a", encoding="utf-8") as out:
        out.write((place / LOG).read_text(encoding="utf-8"))
    records.write_records(
        study, outputs, about(job), records.portable(read), made_with=made["versions"]
    )
    return True


def draw_for_others(main: Callable[[Job[Any]], None], study: Path, job: Job[Any]) -> None:
    """Draw what the run's other jobs are to draw, of tables that are there."""
    planned = study / FOLDER / PLAN
    with suppress(OSError, ValueError):
        since, begin = planned.stat().st_mtime_ns, time.monotonic()
        for noted in read_json(planned)["jobs"]:
            if time.monotonic() - begin > LONG:
                break
            other = _job(noted)
            if other.log != job.log and _is_ready(other, noted["new"], since):
                _draw_for(main, study, replace(other, threads=job.threads), job.rule)


def _draw_for(main: Callable[[Job[Any]], None], study: Path, other: Job[Any], by: str) -> None:
    """Draw another job's figure beside the results; what fails is left to it, which says why."""
    if not _claim(study, other):
        return
    place = _place(study, other)
    # before they are read: of a table that changes meanwhile the drawing is not taken
    inputs = {path: sha256(path) for path in files_read(other)}
    kept = {key: str(place / Path(path).name) for key, path in other.output.items()}
    handler = logging.FileHandler(place / LOG, mode="w", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        # a warning that was given for another figure is given again
        with warnings.catch_warnings():
            main(replace(other, output=kept))
    except Exception as error:
        log.info("%s is left to its own job: %s", other.rule, error)
        return
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    (place / LOG).touch()
    made = {
        "by": by,
        "about": _plain({**about(other), "inputs": inputs}),
        "digests": {Path(path).name: sha256(path) for path in kept.values()},
        "versions": records.versions(),
    }
    write_json(place / MADE, made)


def _is_ready(job: Job[Any], new: list[str], since: int) -> bool:
    """Are a job's tables there, and those that the run makes made by it?"""
    try:
        times = {path: Path(path).stat().st_mtime_ns for path in files_read(job)}
    except OSError:
        return False
    return all(times[path] >= since for path in new)


def _claim(study: Path, job: Job[Any]) -> bool:
    """Take a figure, so that no two jobs draw it for a third; False where another has it."""
    place = _place(study, job)
    try:
        place.mkdir(parents=True)
    except OSError:
        return False
    return True


def _place(study: Path, job: Job[Any]) -> Path:
    return study / FOLDER / Path(job.log).stem


def _outputs(job: Job[Any]) -> list[str]:
    return [path for value in job.output.values() for path in paths_of(value)]


def _job(noted: Mapping[str, Any]) -> Job[Any]:
    return Job(threads=1, **{key: value for key, value in noted.items() if key != "new"})


def _plain(value: Any) -> Any:
    """As a file of JSON has it."""
    return json.loads(json.dumps(records.portable(value)))
