"""What is doubtful in a study's results: its lists of flags, printed when a run ends."""

import csv
from pathlib import Path


def print_flags(results: str) -> None:
    """Print every flag of the lists that are there, once, with the tables that have it."""
    found: dict[str, tuple[str, dict[str, None]]] = {}
    lists = [path for path in sorted(Path(results).glob("tables/*flags.csv")) if path.is_file()]
    for path in lists:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                _, tables = found.setdefault(row["what"], (row["sentence"], {}))
                tables[row["table"]] = None
    if not found:
        return
    print(f"\nMarked as doubtful ({', '.join(map(str, lists))}):")
    for what, (sentence, tables) in found.items():
        print(f"  {what}, in {', '.join(tables)}: {sentence}")
