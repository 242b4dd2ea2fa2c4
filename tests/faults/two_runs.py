"""Two runs at once on the same results, from one folder and from two that share them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from study import snakemake

from faults import Outcome, begun_anew, left_over, results_of
from faults.kills import COMMAND, Run


def at_once(study: Path, folder: Path, target: str) -> Iterator[Outcome]:
    """A second run is refused while the first makes a target, and finds it made afterwards.

    Args:
        study: a finished one, to compare with.
        folder: where to make it again; it is not there yet.
    """
    for fault, linked in (("two runs in one folder", False), ("two folders, one results/", True)):
        start = time.monotonic()
        place = folder / ("linked" if linked else "same")
        first = second = begun_anew(study, place / "first")
        if linked:
            second = begun_anew(study, place / "second")
            for kind in ("results", "figures"):
                (first / kind).mkdir()
                (second / kind).symlink_to(first / kind)
        run = Run(first, COMMAND.format(target=target))
        while not run.has_begun_a_job():
            time.sleep(0.05)
        # it stands still while the other tries
        os.killpg(run.shell.pid, signal.SIGSTOP)
        try:
            refused = snakemake(second, None, target)
        finally:
            os.killpg(run.shell.pid, signal.SIGCONT)
        message = _gist(refused)
        wrong = [] if refused.returncode and message else [refused.stderr[-500:]]
        wrong += [run.said()[-500:]] * bool(run.wait())
        again = snakemake(second, None, target)
        wrong += [again.stderr[-500:]] * bool(again.returncode)
        reference, found = results_of(study), results_of(first)
        wrong += sorted(name for name in found if found[name] != reference.get(name))
        wrong += sorted({target} - set(found))
        seconds = time.monotonic() - start
        yield Outcome(fault, target, message, wrong, left_over(first), seconds)


def _gist(refused: subprocess.CompletedProcess) -> str:
    """What is said to the second run, in short; "" for another failure."""
    if "Directory cannot be locked" in refused.stderr:
        return "Error: Directory cannot be locked. Please make sure that no other Snakemake …"
    if "in use by the run that process" in refused.stderr:
        return (
            "results/tiny: in use by the run that process … on … began in …, or by a job that it "
            "left when it was killed; wait until that ends, then give the same command again"
        )
    return ""
