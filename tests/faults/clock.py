"""A clock that was set back or ahead between two stages: no loop, no crash, the same results."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from study import planned, snakemake

from faults import Outcome, left_over, lost, results_of

DAY = 24 * 3600 * 10**9
STAGES = ("prompts", "activations", "vectors", "steering", "lookups", "tables")


def turned(folder: Path, target: str) -> Iterator[Outcome]:
    """Every second stage was made a day later, then a day earlier, than the others say.

    Args:
        target: a results file that is lost each time, so that something is to be done.
    """
    for days, clock in ((1, "a day ahead"), (-1, "a day back")):
        start = time.monotonic()
        reference = results_of(folder)
        for stage in STAGES[::2]:
            for path in (folder / "results/tiny" / stage).rglob("*"):
                moment = path.stat().st_mtime_ns + days * DAY
                os.utime(path, ns=(moment, moment))
        (folder / target).unlink()
        process = snakemake(folder, None, target)
        harmed = lost(folder, reference)
        harmed += [process.stderr[-500:]] * bool(process.returncode)
        again = planned(folder, None, target)
        harmed += [f"to be made again, without end: {sorted(again)}"] * bool(again)
        ran = (process.stdout + process.stderr).count("\nJob ")
        message = f"{ran} jobs run, then nothing is to be done"
        seconds = time.monotonic() - start
        yield Outcome(f"clock {clock}", "/".join(STAGES[::2]), message, harmed, [], seconds)
        left_over(folder)
