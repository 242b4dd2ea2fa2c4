"""What each rule took and computed: Snakemake's benchmark files and what jobs counted, added up."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from steerpaper.workflow.files import read_json


@dataclass
class Times:
    """What the jobs of a rule took and computed, each as of its last run.

    Attributes:
        jobs: how many.
        seconds: wall time, from the start of their processes to the end.
        memory, gpu: the largest (RSS, and on GPUs), MB.
        tokens: that went through the model, as many as through all of its blocks.
        positions: the same with what fills rows and batches up.
        needed, held: tokens that are needed where that is known, and those computed for it.
        passing: seconds between a job's first pass and its last.
        limit: seconds that plain batched passes take for the same; None where that is not known.
    """

    jobs: int = 0
    seconds: float = 0.0
    memory: float = 0.0
    gpu: float = 0.0
    tokens: float = 0.0
    positions: float = 0.0
    needed: float = 0.0
    held: float = 0.0
    passing: float = 0.0
    limit: float | None = 0.0

    def cells(self) -> dict[str, str]:
        """What is shown, by the name of its column; nothing of passes where none was made."""
        made = bool(self.tokens)
        known = made and self.limit is not None
        limit = self.limit or 0.0
        return {
            "jobs": str(self.jobs),
            "seconds": f"{self.seconds:.1f}",
            "peak memory (MB)": f"{self.memory:.0f}",
            "tokens": f"{self.tokens:.0f}" if made else "",
            "padding": f"{self.positions / self.tokens - 1:.2f}" if made else "",
            "of those needed": f"{self.held / self.needed:.2f}" if self.needed else "",
            "tokens a second": f"{self.tokens / self.passing:.0f}" if made else "",
            "share of the limit": f"{limit / self.passing:.2f}" if known else "",
            "of all its time": f"{limit / self.seconds:.2f}" if known and self.seconds else "",
            "GPU memory (MB)": f"{self.gpu:.0f}" if self.gpu else "",
        }


def run_times(folder: Path) -> dict[str, Times]:
    """What each rule took and computed, by its name."""
    found: dict[str, Times] = {}
    for path in sorted(folder.rglob("*.tsv")):
        one = found.setdefault(_rule(folder, path), Times())
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                # a job shorter than the first measurement has no memory figure
                memory = row["max_rss"]
                one.jobs += 1
                one.seconds += float(row["s"])
                one.memory = max(one.memory, 0.0 if memory in ("-", "NA") else float(memory))
    for path in sorted(folder.rglob("*.json")):
        counted = read_json(path)
        one = found.setdefault(_rule(folder, path), Times())
        one.tokens += counted["whole"]
        one.positions += counted["positions"]
        # not among what an earlier edition counted
        one.needed += counted.get("needed", 0.0)
        one.held += counted.get("held", 0.0)
        one.passing += counted["seconds"]
        one.gpu = max(one.gpu, counted["gpu_mb"])
        one.limit = _sum(one.limit, counted["limit_seconds"])
    return found


def _rule(folder: Path, path: Path) -> str:
    return path.relative_to(folder).parts[0].removesuffix(path.suffix)


def total(rules: Iterable[Times]) -> Times:
    """Of all rules; the share of the limit is of those that ran the model."""
    found = Times()
    for one in rules:
        for key in ("jobs", "seconds", "tokens", "positions", "needed", "held", "passing"):
            setattr(found, key, getattr(found, key) + getattr(one, key))
        found.memory, found.gpu = max(found.memory, one.memory), max(found.gpu, one.gpu)
        found.limit = _sum(found.limit, one.limit)
    return found


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def print_run_times(results: str) -> None:
    """Print what each rule took and computed, the longest first, and the total."""
    rules = run_times(Path(results) / "benchmarks")
    if not rules:
        return
    ordered = sorted(rules.items(), key=lambda entry: -entry[1].seconds)
    shown = {name: one.cells() for name, one in (*ordered, ("total", total(rules.values())))}
    print("\n" + f"{'rule':24}" + "".join(f"  {head}" for head in Times().cells()))
    for name, cells in shown.items():
        row = "".join(f"  {cell:>{len(head)}}" for head, cell in cells.items())
        print(f"{name:24}{row}".rstrip())
