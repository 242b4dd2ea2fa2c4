"""What each rule took: Snakemake's benchmark files, added up and printed."""

import csv
from collections import defaultdict
from pathlib import Path


def run_times(folder: Path) -> dict[str, tuple[int, float, float]]:
    """Per rule: its jobs, their wall time in seconds and the largest memory (RSS) in MB."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                # a job shorter than the first measurement has no memory figure
                memory = row["max_rss"]
                found[rule].append(
                    (float(row["s"]), 0.0 if memory in ("-", "NA") else float(memory))
                )
    return {
        rule: (len(jobs), sum(s for s, _ in jobs), max(rss for _, rss in jobs))
        for rule, jobs in found.items()
    }


def print_run_times(results: str) -> None:
    """Print wall time and peak memory per rule, the longest first, and the total."""
    rules = run_times(Path(results) / "benchmarks")
    if not rules:
        return
    print(f"\n{'rule':24}{'jobs':>6}{'wall time':>12}{'peak memory':>14}")
    for rule, (jobs, seconds, memory) in sorted(rules.items(), key=lambda entry: -entry[1][1]):
        print(f"{rule:24}{jobs:>6}{seconds:>10.1f} s{memory:>11.0f} MB")
    jobs = sum(entry[0] for entry in rules.values())
    seconds = sum(entry[1] for entry in rules.values())
    memory = max(entry[2] for entry in rules.values())
    print(f"{'total':24}{jobs:>6}{seconds:>10.1f} s{memory:>11.0f} MB")
