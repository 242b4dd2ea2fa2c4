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
        size = max((folder / path).stat().st_size for path in job.outputs) // 2
        yield _struck(folder, job, "disk full", "disk is full", FULL.format(size=size))


def read_only(folder: Path, jobs: Sequence[NotedJob]) -> Iterator[Outcome]:
    """The folder of each job's first output cannot be written to; then it can."""
    for job in jobs:
        with unwritable((folder / job.outputs[0]).parent):
            before = results_of(folder)
            process = run_job(folder, job)
            harmed = lost(folder, before)
        outcome = _struck(folder, job, "folder read-only", "is read-only", "", refused=process)
        yield outcome if not harmed else Outcome(**{**vars(outcome), "lost": harmed})


def _struck(
    folder: Path,
    job: NotedJob,
    fault: str,
    wanted: str,
    before: str,
    refused: subprocess.CompletedProcess | None = None,
) -> Outcome:
    """What a job says and leaves while the fault lasts, and makes when it is over."""
    start = time.monotonic()
    reference = results_of(folder)
    if refused is None:
        # as Snakemake does before a job
        for path in job.outputs:
            (folder / path).unlink()
        refused = run_job(folder, job, before)
    message = said(refused, wanted)
    left = left_over(folder)
    found = results_of(folder)
    # what is there is whole
    harmed = [name for name in found if found[name] != reference.get(name)]
    again = run_job(folder, job)
    if refused.returncode == 0 or wanted not in message:
        harmed += [f"no message: {message}"]
    if again.returncode:
        harmed += [said(again, "")]
    harmed += lost(folder, reference)
    return Outcome(fault, job.name, message, harmed, left, time.monotonic() - start)


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
