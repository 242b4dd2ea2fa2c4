"""Write the conda environments from the lock: `python envs/environments.py` (needs uv).

model.yaml      what model.in names and all that it pulls in, the CUDA libraries of torch's build
                for Linux among it
model.cpu.yaml  the same without these libraries, for torch's CPU build
figures.yaml    what figures.in names and all that it pulls in

conda-forge gives python and pip; the rest stands in each file as the lock has it, versions and
hashes, because conda would look for a file named there beside a copy of the environment's file,
and Snakemake would not notice that it changed.
"""

import re
import subprocess
import sys
from pathlib import Path

ENVS = Path(__file__).parent
# what an environment needs, and the locks that it takes this from
ENVIRONMENTS = {
    "model.yaml": ("model.in", ["lock.txt", "lock.cuda.txt"]),
    "model.cpu.yaml": ("model.in", ["lock.txt"]),
    "figures.yaml": ("figures.in", ["lock.txt"]),
}
# 3.11 is the oldest Python of the lock and the one that the tests run on; torch's CPU build is
# locked for it alone. Another one takes other packages out of the lock, hence other last digits.
HEAD = """\
# made by envs/environments.py from {needs} and {locks}: do not edit
channels: [conda-forge]
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def entries(lock: Path) -> list[str]:
    """A lock's entries: requirement, marker and hashes, on several lines."""
    found = re.split(r"(?m)^(?=[a-z0-9])", lock.read_text(encoding="utf-8"))
    return [entry.rstrip("\n") for entry in found if "==" in entry]


def project(entry: str) -> str:
    """The name in front of an entry's version."""
    return entry.partition("==")[0]


def needed(needs: Path) -> set[str]:
    """All that a file of requirements pulls in, on any platform, at the lock's versions."""
    command = "uv pip compile --universal --python-version 3.11 --no-header --no-annotate"
    locks = [option for name in ("lock.txt", "lock.cuda.txt") for option in ("-c", ENVS / name)]
    resolved = subprocess.run(
        [*command.split(), *locks, needs], check=True, capture_output=True, text=True
    ).stdout
    return set(map(project, re.findall(r"(?m)^[a-z0-9].*==.*$", resolved)))


def environment(needs: str, locks: list[str]) -> str:
    """The text of an environment's file."""
    names = needed(ENVS / needs)
    lines = [HEAD.format(needs=needs, locks=" and ".join(locks))]
    for lock in locks:
        for entry in entries(ENVS / lock):
            if project(entry) in names:
                lines.append("      - |-\n")
                lines += [f"        {line}\n" for line in entry.splitlines()]
    return "".join(lines)


def main() -> None:
    """Write all environments."""
    for name, (needs, locks) in ENVIRONMENTS.items():
        text = environment(needs, locks)
        (ENVS / name).write_text(text, encoding="utf-8")
        print(f"{name}: {text.count('- |-')} packages", file=sys.stderr)


if __name__ == "__main__":
    main()
