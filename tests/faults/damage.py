"""Results files that are cut or changed after their job: noticed before they are read, and remade.

The damage leaves a file's time as it is, as a failing disk does; what is made from the file is
lost, so that a job reads it.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from study import snakemake

from faults import NotedJob, Outcome, left_over, lost, results_of, said


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


def damages(
    folder: Path, jobs: Sequence[NotedJob], kinds: Sequence[str] = KINDS
) -> Iterator[Outcome]:
    """Each damage to a file of each kind; then the same command, up to three times."""
    for kind, (path, made_of_it) in victims(folder, jobs).items():
        if kind not in kinds:
            continue
        for damage, harm in DAMAGES.items():
            start = time.monotonic()
            reference = results_of(folder)
            _damage(folder / path, harm)
            (folder / made_of_it).unlink()
            message = ""
            for _ in range(TRIES):
                process = snakemake(folder, None, made_of_it)
                message = message or said(process, Path(path).name)
                if process.returncode == 0:
                    break
            harmed = lost(folder, reference)
            if Path(path).name not in message or "damaged" not in message:
                harmed += [f"not noticed: {message}"]
            seconds = time.monotonic() - start
            yield Outcome(damage, path, message, harmed, left_over(folder), seconds)


def _damage(path: Path, harm: Callable[[bytes], bytes]) -> None:
    before = path.stat()
    path.write_bytes(harm(path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
