"""A clock that was set back or ahead between two stages: no loop, no crash, the same results."""

import os
import time
from pathlib import Path

from study import planned, snakemake

from faults import Outcome, copy_of, left_over, lost, results_of

DAY = 24 * 3600 * 10**9
STAGES = ("prompts", "activations", "vectors", "steering", "lookups", "tables")  # in this order


def turned(study: Path, folder: Path, target: str, days: int) -> Outcome:
    """Every second stage is dated some days later (or earlier) than it was made.

    Files count by their time alone, as large ones do; small ones Snakemake would compare.

    Args:
        study: a finished one.
        folder: for a copy of it.
        target: a results file that is lost, so that something is to be done.
    """
    start = time.monotonic()
    reference = results_of(copy_of(study, folder))
    for stage in STAGES[::2]:
        for path in (folder / "results/tiny" / stage).rglob("*"):
            moment = path.stat().st_mtime_ns + days * DAY
            os.utime(path, ns=(moment, moment))
    (folder / target).unlink()
    by_time = ("--max-checksum-file-size", "0")
    process = snakemake(folder, None, target, *by_time)
    wrong = lost(folder, reference)
    wrong += [process.stderr[-500:]] * bool(process.returncode)
    again = planned(folder, None, target, *by_time)
    wrong += [f"to be made again, without end: {sorted(again)}"] * bool(again)
    ran = (process.stdout + process.stderr).count("\nJob ")
    message = f"{ran} jobs run again, then nothing is to be done"
    fault = f"clock {abs(days)} day {'ahead' if days > 0 else 'back'}"
    seconds = time.monotonic() - start
    return Outcome(fault, ", ".join(STAGES[::2]), message, wrong, left_over(folder), seconds)
