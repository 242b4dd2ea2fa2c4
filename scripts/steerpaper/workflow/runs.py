"""One run at a time makes a study's results, and a run that was killed says how to go on.

Snakemake's own lock lies in the working folder and stays when its process is killed. So it says
nothing of a run in another folder whose results/ is a link to the same place, and nothing of
whether the run that left it is still alive. Here every run, and every job, holds a file that the
kernel lets go of however the process ends.
"""

import fcntl
import os
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path

from steerpaper.errors import UserError

LOCK = ".lock"


def left_by_a_kill(folder: Path, arguments: Sequence[str]) -> str:
    """What to type where a killed run left Snakemake's lock; "" where none is, or a run is alive.

    From here on this process counts as alive in the folder.

    Args:
        folder: Snakemake's folder of its own, `.snakemake`.
        arguments: what this Snakemake was called with.
    """
    if not _hold(folder / "steerpaper.lock") or "--unlock" in arguments:
        return ""
    if not any((folder / "locks").glob("*.lock")):
        return ""
    command = shlex.join(["snakemake", *arguments])
    return (
        "A run in this folder was killed, and no other is alive here. What was finished is kept. "
        f"To go on:\n\n    {command} --unlock && {command}\n"
    )


def claim(results: Path) -> None:
    """Hold a study's results for this run until its process ends.

    Raises:
        UserError: another run makes them, or a job that outlived its run.
    """
    lock = results / LOCK
    if not _hold(lock):
        raise UserError(
            f"{results}: in use by the run that {_note(lock)}, or by a job that it left when it "
            "was killed; wait until that ends, then give the same command again"
        )
    _write_note(lock)


def join(log: str) -> None:
    """Hold the results that a job's log lies in, beside its run, until the job's process ends."""
    folders = [folder.parent for folder in Path(log).parents if folder.name == "logs"]
    if folders:
        _hold(folders[0] / LOCK)


def _hold(path: Path) -> bool:
    """Hold a file together with whoever else does; was it free?

    A file system without locks, or that cannot be written to, has nothing to keep apart by: free.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT)
    except OSError:
        return True
    free = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        free = False
    except OSError:
        os.close(file)
        return True
    # the file stays open, and held, until the process ends
    fcntl.flock(file, fcntl.LOCK_SH)
    return free


def _write_note(lock: Path) -> None:
    note = f"process {os.getpid()} on {socket.gethostname()} began in {Path.cwd()}"
    try:
        lock.write_text(note, encoding="utf-8")
    except OSError:
        # no note on a full disk; the lock itself holds
        return


def _note(lock: Path) -> str:
    return lock.read_text(encoding="utf-8").strip() or "another process began"
