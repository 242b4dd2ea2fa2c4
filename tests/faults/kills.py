"""Kills at random moments of a run; after each, what the next run says to type is typed."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from tiny_models import ROOT

from faults import Outcome, begun_anew, left_over, lost, results_of

COMMAND = f"snakemake --snakefile {ROOT}/Snakefile {{target}} --cores 2 --resources gpu=2"
STRIKES = {
    "SIGKILL to all processes": (signal.SIGKILL, "group"),
    "SIGKILL to Snakemake alone": (signal.SIGKILL, "snakemake"),
    "SIGKILL to a job": (signal.SIGKILL, "job"),
    "SIGTERM to Snakemake": (signal.SIGTERM, "snakemake"),
    "SIGINT to all processes (Ctrl-C)": (signal.SIGINT, "group"),
}
PATIENCE = 1200  # seconds that a run may take


class Run:
    """A run that was begun as a user does, in a shell, and what it prints."""

    def __init__(self, folder: Path, command: str) -> None:
        self.printed = folder / "printed.txt"
        place = Path(sys.executable).parent
        with open(self.printed, "w") as out:
            self.shell = subprocess.Popen(
                ["sh", "-c", command],
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # where these tests run in the background, Ctrl-C would be passed over
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
                env={
                    **os.environ,
                    "PATH": f"{place}:{os.environ['PATH']}",
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
            )

    def said(self) -> str:
        """What was printed so far."""
        return self.printed.read_text(errors="replace")

    def over(self) -> bool:
        """Has it ended?"""
        return self.shell.poll() is not None

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        return self.shell.wait(timeout=PATIENCE)

    def has_begun_a_job(self) -> bool:
        """Has Snakemake begun a job?"""
        return bool(re.search(r"^Job \d+:", self.said(), flags=re.M))

    def strike(self, number: int, whom: str) -> bool:
        """Send a signal; False where there was nobody to send it to."""
        if whom == "group":
            os.killpg(self.shell.pid, number)
            return True
        try:
            below = psutil.Process(self.shell.pid).children(recursive=True)
            both = [self.shell.pid, *(process.pid for process in below)]
            chosen = [pid for pid in both if _is(pid, whom)]
        except psutil.NoSuchProcess:
            return False
        for pid in chosen[:1]:
            os.kill(pid, number)
        return bool(chosen)


def _is(pid: int, whom: str) -> bool:
    words = psutil.Process(pid).cmdline()
    is_job = any("/.snakemake/scripts/" in word for word in words[1:2])
    is_shell = "sh" in {Path(word).name for word in words[:1]}
    return is_job if whom == "job" else not is_job and not is_shell


def next_command(said: str, command: str) -> str:
    """What a run that ended says to type; the same command where it says nothing else."""
    told = re.search(r"To go on:\n\n +(.*)\n", said)
    return told[1] if told else command


def gist(said: str) -> str:
    """What a run that ended says to do, in short; "" where it says nothing of it."""
    if "To go on:" in said:
        return "A run in this folder was killed … To go on: snakemake … --unlock && snakemake …"
    if "give the same command again" in said:
        return "in use by … a job that it left … wait, then give the same command again"
    return ""


def kills(
    study: Path, folder: Path, *, number: int, seed: int, longest: float = 12, target: str = ""
) -> Iterator[Outcome]:
    """Strike runs so many times; what was made is compared whenever all is made.

    Args:
        study: a study that was never struck.
        folder: where to make it again; it is not there yet.
        longest: seconds between a job's begin and the strike, at most.
        target: what to make, instead of all.
    """
    rng = random.Random(seed)
    strikes = [name for _ in range(-(-number // len(STRIKES))) for name in STRIKES][:number]
    rng.shuffle(strikes)
    reference, plain = results_of(study), COMMAND.format(target=target)
    while strikes:
        start, struck = time.monotonic(), []
        run = Run(begun_anew(study, folder), plain)
        while True:
            run, told = _going_on(run, folder, plain)
            if told and struck:
                struck[-1][2] = told
            if run.over():
                break
            if not strikes:
                run.wait()
            elif doing := _strike(run, strikes[-1], rng.uniform(0.2, longest)):
                struck.append([strikes.pop(), doing, "the same command goes on"])
        found = lost(folder, reference)
        if target:
            # it makes a part of what there is
            found = sorted(set(found) & set(results_of(folder)))
        left, seconds = left_over(folder), time.monotonic() - start
        for fault, doing, told in struck:
            yield Outcome(fault, doing, told, found, left, seconds / len(struck))
        shutil.rmtree(folder)


def _going_on(run: Run, folder: Path, plain: str) -> tuple[Run, str]:
    """The run that has begun a job, or made all, once what ended runs say to type is typed.

    Also what was said in short; "" where nothing had to be typed but the same command.

    Raises:
        TimeoutError: it comes to no end.
    """
    told = ""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if run.over():
            if run.wait() == 0:
                return run, told
            said = run.said()
            told = told or gist(said)
            run = Run(folder, next_command(said, plain))
        elif run.has_begun_a_job():
            return run, told
        time.sleep(0.1)
    raise TimeoutError(f"{folder}: no end: {run.said()[-2000:]}")


def _strike(run: Run, strike: str, moment: float) -> str:
    """Strike a run after so many seconds; the job that it had begun last, "" where it is over."""
    time.sleep(moment)
    number, whom = STRIKES[strike]
    if run.over() or not run.strike(number, whom):
        return ""
    if whom != "job":
        run.wait()
    begun = re.findall(r"^Job \d+: (.*)", run.said(), flags=re.M)
    return str(begun[-1])
