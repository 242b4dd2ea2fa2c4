"""A disk that is full, or cannot be written to, when a job writes: every job of the study."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faults import NotedJob, Outcome, left_over, lost, results_of, run_job, said

# no file grows beyond so many bytes, as on a disk that has no more
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


def full(folder: Path, jobs: Sequence[NotedJob]) -> Iterator[Outcome]:
    """Half of each job's largest output fits on the disk; then there is room again."""
    for job in jobs:
        start = time.monotonic()
        reference = results_of(folder)
        size = max((folder / path).stat().st_size for path in job.outputs) // 2
        # as Snakemake does before a job
        for path in job.outputs:
            (folder / path).unlink()
        refused = run_job(folder, job, FULL.format(size=size))
        message = said(refused, "disk is full")
        found, left = results_of(folder), left_over(folder)
        # what is there is whole
        wrong = [name for name in found if found[name] != reference.get(name)]
        wrong += _without_message(refused, message, "disk is full")
        again = run_job(folder, job)
        wrong += [said(again, "")] * bool(again.returncode)
        wrong += lost(folder, reference)
        yield Outcome("disk full", job.name, message, wrong, left, time.monotonic() - start)


def read_only(folder: Path, jobs: Sequence[NotedJob]) -> Iterator[Outcome]:
    """The folder of each job's first output cannot be written to; what is there stays."""
    for job in jobs:
        start = time.monotonic()
        reference = results_of(folder)
        with unwritable((folder / job.outputs[0]).parent):
            refused = run_job(folder, job)
        message = said(refused, "is read-only")
        wrong = [*lost(folder, reference), *_without_message(refused, message, "is read-only")]
        seconds = time.monotonic() - start
        yield Outcome("folder read-only", job.name, message, wrong, left_over(folder), seconds)


def _without_message(refused: subprocess.CompletedProcess, message: str, wanted: str) -> list[str]:
    is_told = refused.returncode == 1 and wanted in message
    return [] if is_told else [f"no message: {message}"]


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """A folder that cannot be written to: root can write to all but a read-only file system.

    Raises:
        PermissionError: nothing can be mounted here.
    """
    if os.geteuid():
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    try:
        subprocess.run(["mount", "--bind", folder, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PermissionError("nothing can be mounted here") from error
    try:
        remount = ["mount", "-o", "remount,ro,bind", folder]
        subprocess.run(remount, check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
