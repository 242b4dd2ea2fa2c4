"""What a job pays before its first number: CPU seconds from the start of its process to a pass.

    python benchmarks/start.py [ENGINE FILE]

Each phase is the least of five processes on one thread, as a job runs today and with all imported
that torch and transformers import by themselves.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TIMES = 5
DEFAULT = ROOT / "results/default/engine.json"
WHOLE = """
import importlib.metadata as metadata
held, metadata.version = metadata.version, lambda name: "0"
import steerpaper.engine
metadata.version = held
"""
LEAN = """
import steerpaper.engine
from steerpaper.workflow import garbage
garbage.wait()
"""
JOB = """
import json, time
clock, times = time.process_time, {}
sys.path.insert(0, sys.argv[1])
HOW
import torch
times["torch"] = clock()
import transformers
from nnsight import TransformersModel
from steerpaper.engine.model import load_manifest
from steerpaper.engine.text import Choice
from steerpaper.steering.activations import read_activations
times["transformers, nnsight"] = clock()
lm, _ = load_manifest(sys.argv[2], device="cpu", dtype="float32", threads=1)
times["the model, with its tokenizer"] = clock()
read_activations(lm, [Choice("a", [1, 2, 3], [4], [5])], 64)
times["a first pass"] = clock()
print(json.dumps(times))
"""


def phases(how: str, engine: Path) -> dict[str, float]:
    """CPU seconds of each phase of one process; what comes before is in the first."""
    code = "import sys\n" + JOB.replace("HOW", how)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "scripts"), str(engine)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    ends = json.loads(process.stdout.splitlines()[-1])
    starts = [0.0, *list(ends.values())[:-1]]
    return {name: end - start for (name, end), start in zip(ends.items(), starts, strict=True)}


def main() -> None:
    """Print a table of phases."""
    engine = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    # in turn, so that what else the machine does is shared
    runs = [(phases(LEAN, engine), phases(WHOLE, engine)) for _ in range(TIMES)]
    lean, whole = (
        {name: min(run[side][name] for run in runs) for name in runs[0][side]} for side in (0, 1)
    )
    print(f"{'CPU seconds':42}{'now':>8}{'all imported':>14}")
    for name in lean:
        print(f"{name:42}{lean[name]:>8.2f}{whole[name]:>14.2f}")
    sums = [sum(one.values()) for one in (lean, whole)]
    print(f"{'in all':42}{sums[0]:>8.2f}{sums[1]:>14.2f}")


if __name__ == "__main__":
    main()
