"""Make the peers' own environments: `python benchmarks/peers/make.py [NAME …]`.

They need other versions than the project's lock. Each <name>.txt here pins one environment, which
is made in the folder <name>/.venv beside it; what cannot be had is said in one line, and `make
bench` does without it.
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment."""
    return HERE / name / ".venv/bin/python"


def make(name: str) -> str:
    """Make one environment; what went wrong, or nothing."""
    pins = HERE / f"{name}.txt"
    ready = HERE / name / ".venv/ready"
    if ready.is_file() and ready.read_text() == pins.read_text():
        return ""
    if (HERE / name / ".venv").is_symlink():
        return f"{name}/.venv is a link: remove it"
    venv.create(HERE / name / ".venv", clear=True, with_pip=True)
    command = [str(python_of(name)), *PIP, "-r", str(pins)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        errors = [line for line in made.stderr.splitlines() if line.startswith("ERROR: ")]
        return (errors or ["ERROR: pip failed"])[-1].removeprefix("ERROR: ")
    ready.write_text(pins.read_text())
    return ""


if __name__ == "__main__":
    for peer in sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.txt")):
        print(f"{peer}: {make(peer) or 'ready'}", flush=True)
