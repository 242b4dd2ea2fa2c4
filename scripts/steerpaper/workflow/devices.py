"""GPUs of its own for every job: of the devices that CUDA shows, it holds some until it ends.

Snakemake's `--resources gpu=2` lets two jobs that use a GPU run at once, but says to neither which
GPU. Here each locks a file named after its device; the kernel lets go of the lock however the job
ends. The file lies in the machine's folder for temporary files, so that all runs on it keep apart.
A job that needs several takes all of them or none: two jobs that each held some would wait for
each other for ever.
"""

import fcntl
import logging
import os
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from steerpaper.errors import UserError

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks for a free device


def hold(devices: Sequence[str], n: int = 1) -> tuple[int, ...]:
    """Hold some of the machine's devices until this process ends, and return their places.

    Where too few are free: waits for them; shares the only one, which was not chosen here but by
    the machine, a scheduler or CUDA_VISIBLE_DEVICES.

    Args:
        devices: a name for each, the same in every process of the machine.
        n: how many.

    Raises:
        UserError: more are asked for than there are.
    """
    if n > len(devices):
        raise UserError(
            f"gpus_per_job: {n} GPUs are asked for, but a job sees {len(devices)} here; lower "
            "gpus_per_job, or run on a machine (on a cluster: a partition) whose nodes have as many"
        )
    waiting = False
    while True:
        if held := _take(devices, n):
            return held
        if len(devices) == 1:
            log.warning("the only GPU (%s) is in use by another job: shared with it", *devices)
            return (0,)
        if not waiting:
            waiting = True
            if n == 1:
                taken = f"all {len(devices)} GPUs are in use by other jobs: waiting for one"
            else:
                taken = (
                    f"fewer than {n} of {len(devices)} GPUs are free: waiting until {n} are, and "
                    "holding none meanwhile"
                )
            log.warning(
                "%s; with --resources gpu=%d and no other run on this machine no job has to wait",
                *(taken, len(devices)),
            )
        # not in step with another job that looks for several
        time.sleep(PAUSE * random.uniform(0.75, 1.25))


def _take(devices: Sequence[str], n: int) -> tuple[int, ...]:
    """Lock `n` devices, or none: an empty tuple."""
    held: dict[int, int] = {}
    for number, device in enumerate(devices):
        file = _lock(device)
        if file is not None:
            held[number] = file
        if len(held) == n:
            # the files stay open, and locked, until the process ends
            return tuple(held)
    for file in held.values():
        os.close(file)
    return ()


def _place(name: str) -> Path:
    """Where a lock lies: in TMPDIR if it is there, even where no new file can be made."""
    told = Path(os.environ.get("TMPDIR") or tempfile.gettempdir()) / name
    # gettempdir() passes over a folder that cannot be written to, and its locks with it
    return told if told.exists() else Path(tempfile.gettempdir()) / name


def _lock(device: str) -> int | None:
    """The open file that locks a device, or None where another process holds it."""
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
        return None
    if not os.fstat(file).st_nlink:
        # removed since it was opened: whoever comes next makes another, which must be held
        os.close(file)
        return _lock(device)
    return file
