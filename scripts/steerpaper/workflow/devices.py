"""A GPU of its own for every job: of the devices that CUDA shows, a job holds one until it ends.

Snakemake's `--resources gpu=2` lets two jobs that use a GPU run at once, but says to neither which
GPU. Here each locks a file named after its device; the kernel lets go of the lock however the job
ends. The file lies in the machine's folder for temporary files, so that all runs on it keep apart.
"""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from steerpaper.errors import UserError

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks for a free device


def hold(devices: Sequence[str]) -> int:
    """Hold one of the machine's devices until this process ends, and return its place in the list.

    Where all are taken: waits for one of several; shares the only one, which was not chosen here
    but by the machine, a scheduler or CUDA_VISIBLE_DEVICES.

    Args:
        devices: a name for each, the same in every process of the machine.
    """
    waiting = False
    while True:
        for number, device in enumerate(devices):
            if _lock(device):
                return number
        if len(devices) == 1:
            log.warning("the only GPU (%s) is in use by another job: shared with it", *devices)
            return 0
        if not waiting:
            waiting = True
            log.warning(
                "all %d GPUs are in use by other jobs: waiting for one; with "
                "--resources gpu=%d and no other run on this machine no job has to wait",
                *(len(devices), len(devices)),
            )
        time.sleep(PAUSE)


def _place(name: str) -> Path:
    """Where a lock lies: in TMPDIR if it is there, even where no new file can be made."""
    told = Path(os.environ.get("TMPDIR") or tempfile.gettempdir()) / name
    # gettempdir() passes over a folder that cannot be written to, and its locks with it
    return told if told.exists() else Path(tempfile.gettempdir()) / name


def _lock(device: str) -> bool:
    path = _place(f"steerpaper-gpu-{device}.lock")
    try:
        try:
            # to read is enough to lock, and what another user's file allows
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            file = os.open(path, os.O_RDONLY | os.O_CREAT)
            os.fchmod(file, 0o644)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened to lock the GPU: {error.strerror}; "
            "set TMPDIR to a folder of this machine that can be written to"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    if not os.fstat(file).st_nlink:
        # removed since it was opened: whoever comes next makes another, which must be held
        os.close(file)
        return _lock(device)
    # the file stays open, and locked, until the process ends
    return True
