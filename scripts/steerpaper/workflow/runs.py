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
from contextlib import suppress
from pathlib import Path

from steerpaper.errors import UserError

LOCK = ".lock"


def left_by_a_kill(folder: Path, command: Sequence[str]) -> str:
    """What to type where a killed run left Snakemake's lock; "" where none is, or a run is alive.

    From here on this process counts as alive in the folder.

    Args:
        folder: Snakemake's folder of its own, `.snakemake`.
        command: what was typed.
    """
    alive = folder / "steerpaper.lock"
    if not _hold_alone(alive):
        _hold_beside(alive)
        return ""
    if "--unlock" in command or not any((folder / "locks").glob("*.lock")):
        return ""
    typed = shlex.join(command)
    return (
        "A run in this folder was killed, and no other is alive here. What was finished is kept. "
        f"To go on:\n\n    {typed} --unlock && {typed}\n"
    )


def claim(results: Path) -> None:
    """Hold a study's results for this run until its process ends.

    Raises:
        UserError: another run makes them, or a job that outlived its run.
    """
    lock = results / LOCK
    if not _hold_alone(lock):
        raise UserError(
            f"{results}: in use by the run that {_note(lock)}, or by a job that it left when it "
            "was killed; wait until that ends, then give the same command again"
        )
    _write_note(lock)


def join(log: str) -> None:
    """Hold the results that a job's log lies in, beside its run, until the job's process ends."""
    folders = [folder.parent for folder in Path(log).parents if folder.name == "logs"]
    if folders:
        _hold_beside(folders[0] / LOCK)


def _open(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT)
    except OSError:
        # where nothing can be written there is nothing to keep apart
        return None


def _hold_alone(path: Path) -> bool:
    """Hold a file until this process ends if nobody else does; later ones may hold it beside.

    A file system without locks counts as free.
    """
    file = _open(path)
    if file is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_SH)
    except BlockingIOError:
        os.close(file)
        return False
    except OSError:
        os.close(file)
    # the file stays open, and held
    return True


def _hold_beside(path: Path) -> None:
    """Hold a file until this process ends, beside whoever else does."""
    file = _open(path)
    if file is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)


def _write_note(lock: Path) -> None:
    note = f"process {os.getpid()} on {socket.gethostname()} began in {Path.cwd()}"
    # no note on a full disk; the lock itself holds
    with suppress(OSError):
        lock.write_text(note, encoding="utf-8")


def _note(lock: Path) -> str:
    return lock.read_text(encoding="utf-8").strip() or "another process began"
