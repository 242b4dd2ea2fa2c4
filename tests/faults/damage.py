"""Results files that are cut or changed after their job: noticed before they are read, and remade.

The damage leaves a file's time as it is, as a failing disk does; what is made from the file is
lost, so that a job reads it.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from study import snakemake

from faults import NotedJob, Outcome, copy_of, left_over, lost, results_of, said


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut to half": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "one bit flipped": _flipped,
}
KINDS = ("json", "jsonl", "safetensors", "parquet", "csv")
TRIES = 3  # of the same command


def victims(folder: Path, jobs: Sequence[NotedJob]) -> dict[str, tuple[str, str]]:
    """Of each kind a file that a job made and another, quick one reads, and what that one makes."""
    made = {path for job in jobs for path in job.outputs}
    found: dict[str, tuple[str, str]] = {}
    for job in sorted(jobs, key=lambda job: job.script.name not in ("table.py", "figure.py")):
        for path in job.inputs:
            kind = path.rpartition(".")[2]
            if path in made and kind in KINDS and "/models/" not in path:
                found.setdefault(kind, (path, job.outputs[0]))
    return found


def damage(study: Path, folder: Path, jobs: Sequence[NotedJob], kind: str, name: str) -> Outcome:
    """Damage a file of a kind; then the same command, up to three times.

    Args:
        study: a finished one.
        folder: for a copy of it.
        jobs: of the study.
        name: of the damage.
    """
    start = time.monotonic()
    path, made_of_it = victims(study, jobs)[kind]
    reference = results_of(copy_of(study, folder))
    before = (folder / path).stat()
    (folder / path).write_bytes(DAMAGES[name]((folder / path).read_bytes()))
    os.utime(folder / path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / made_of_it).unlink()
    message = ""
    for _ in range(TRIES):
        process = snakemake(folder, None, made_of_it)
        message = message or said(process, Path(path).name)
        if process.returncode == 0:
            break
    wrong = lost(folder, reference)
    if Path(path).name not in message or "damaged" not in message:
        wrong += [f"not noticed: {message}"]
    return Outcome(name, path, message, wrong, left_over(folder), time.monotonic() - start)
