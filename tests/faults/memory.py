"""Out of memory at random passes: batches are halved, and no result depends on their size."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults import NotedJob, Outcome, left_over, lost, results_of, run_job, said
from steerpaper.engine.widths import LEAST

# passes of more rows than `least` find no memory, as many of them as `share` says
SHORT = """
import random, torch
import steerpaper.engine.forward as engine
passes, rng = engine.forward, random.Random({seed})

def short_of_memory(lm, ids, *arguments, **options):
    if len(ids) > {least} and rng.random() < {share}:
        raise rng.choice([torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
    return passes(lm, ids, *arguments, **options)

engine.forward = short_of_memory
"""


def model_jobs(folder: Path, jobs: Sequence[NotedJob]) -> list[NotedJob]:
    """Those of the jobs that run the model."""
    return [job for job in jobs if '"run": {' in (folder / job.note).read_text()]


def at_random(folder: Path, jobs: Sequence[NotedJob], seed: int) -> Iterator[Outcome]:
    """Half of all passes find no memory, but those that one sequence makes (up to 16 rows)."""
    for number, job in enumerate(jobs):
        start = time.monotonic()
        reference = results_of(folder)
        process = run_job(folder, job, SHORT.format(seed=seed + number, share=1 / 2, least=LEAST))
        halved = (process.stdout + process.stderr).count("halved and retried")
        message = f"{halved} batches halved" if halved else "no batch was struck"
        harmed = lost(folder, reference) + [said(process, "")] * bool(process.returncode)
        seconds = time.monotonic() - start
        yield Outcome("out of memory", job.name, message, harmed, left_over(folder), seconds)


def at_one_row(folder: Path, jobs: Sequence[NotedJob]) -> Iterator[Outcome]:
    """Every pass finds no memory: the job says so in one message."""
    for job in jobs:
        start = time.monotonic()
        reference = results_of(folder)
        process = run_job(folder, job, SHORT.format(seed=0, share=1, least=0))
        message = said(process, "out of memory with one")
        harmed = lost(folder, reference)
        if process.returncode != 1 or not message.startswith("out of memory"):
            harmed += [f"no message: {message}"]
        seconds = time.monotonic() - start
        yield Outcome("no memory at all", job.name, message, harmed, left_over(folder), seconds)
