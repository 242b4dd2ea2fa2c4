"""A GPU's lock that is lost: its file removed, left by a dead job, or in a folder that is closed.

The devices are names: what is tried is the lock, which knows of no more.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tiny_models import ROOT

from faults import Outcome
from faults.disk import unwritable

HOLD = """
import logging, sys
from steerpaper.errors import UserError
from steerpaper.workflow.devices import hold
logging.basicConfig(stream=sys.stdout, format="%(message)s")
try:
    print("device", *hold(sys.argv[1:]), flush=True)
except UserError as error:
    sys.exit(print(error, flush=True))
sys.stdin.read()
"""


@contextmanager
def job(folder: Path, *devices: str) -> Iterator[subprocess.Popen]:
    """A process that holds one of the named devices by a lock in the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, *devices],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT / "scripts")},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _first_line(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


def losses(folder: Path) -> Iterator[Outcome]:
    """Each way to lose a lock, tried with two jobs and two devices.

    Args:
        folder: an empty one, for the locks.
    """
    for fault, expected, follow in (
        ("lock of a killed job", "device 0", _killed),
        ("lock file removed, held by a job", "device 0", _removed),
        ("folder of locks read-only, files there", "device 1", _closed),
        ("folder of locks read-only, no files", "device 1", _closed_empty),
    ):
        start = time.monotonic()
        place = folder / fault.replace(" ", "-")
        place.mkdir()
        with ExitStack() as jobs:
            said = follow(place, jobs)
        wrong = [] if expected in said else [f"said {said!r} instead of {expected!r}"]
        yield Outcome(fault, "two devices", said, wrong, [], time.monotonic() - start)


def _killed(place: Path, jobs: ExitStack) -> str:
    """A dead job's file is there; the kernel has let go of it."""
    first = jobs.enter_context(job(place, "a", "b"))
    _first_line(first)
    first.kill()
    first.wait()
    assert list(place.iterdir())
    return _first_line(jobs.enter_context(job(place, "a", "b")))


def _removed(place: Path, jobs: ExitStack) -> str:
    """Two jobs share a device, which costs time and no result; later ones keep apart again."""
    _first_line(jobs.enter_context(job(place, "a", "b")))
    for file in place.iterdir():
        file.unlink()
    second = _first_line(jobs.enter_context(job(place, "a", "b")))
    third = _first_line(jobs.enter_context(job(place, "a", "b")))
    return f"{second}, shared; the next job: {third}" if third == "device 1" else f"next: {third}"


def _closed(place: Path, jobs: ExitStack) -> str:
    """To read is enough to lock a file that is there."""
    with job(place, "a") as first, job(place, "b") as second:
        _first_line(first)
        _first_line(second)
    jobs.enter_context(unwritable(place))
    _first_line(jobs.enter_context(job(place, "a", "b")))
    return _first_line(jobs.enter_context(job(place, "a", "b")))


def _closed_empty(place: Path, jobs: ExitStack) -> str:
    """All jobs take the machine's other folder."""
    devices = [f"{place.parent.name}-{letter}" for letter in "ab"]
    jobs.callback(_remove_locks, devices)
    jobs.enter_context(unwritable(place))
    _first_line(jobs.enter_context(job(place, *devices)))
    return _first_line(jobs.enter_context(job(place, *devices)))


def _remove_locks(devices: Sequence[str]) -> None:
    for device in devices:
        for folder in ("/tmp", "/var/tmp", "/usr/tmp"):
            (Path(folder) / f"steerpaper-gpu-{device}.lock").unlink(missing_ok=True)
