"""How near the model's own limit is each stage, and how fast is it beside the plain way and peers?

    make bench        the embedded model: three quarters of an hour; the table goes into
                      docs/performance.md, between its two markers
    make bench-short  a tiny random model: only that it runs, and that both sides agree
    python benchmarks/bench.py [--short] [--only PART …] [--rows WORD] [--times N] [--model FOLDER]

Both sides run in turn, on one thread, and medians of CPU seconds are compared: other work on the
machine slows both. What both sides find must agree before a time counts.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests"), str(ROOT / "benchmarks")]
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

DOC = ROOT / "docs/performance.md"
MARKERS = "<!-- made by make bench -->", "<!-- end of what make bench made -->"
HEAD = """\
| what | beside | ms a | theirs | ours | ratio | share of the limit | largest difference |
|---|---|---|---|---|---|---|---|"""
PARTS = ("steering", "sampling", "lookups", "start")
TIMES = 3


def compared(one, limit, times: int) -> str:
    """A row of the table: both sides in turn, and what they found held beside each other."""
    import numpy as np
    from stages import BUDGET

    from steerpaper.workflow import counts

    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    shares = []
    found = one.ours()  # warm
    for _ in range(times):
        for side in seconds:
            counts.start_anew()
            counts.watch(limit.name, limit.layers, lambda _: limit.limit)
            start = time.process_time()
            made = getattr(one, side)()
            took = made[2] if len(made) > 2 else time.process_time() - start
            seconds[side].append(took / made[1])
            if side == "ours":
                found = made
                counted = counts.report(BUDGET)
                shares += [counted["limit_seconds"] / took] if counted else []
    difference = ""
    if one.same:
        a, b = (np.asarray(part, dtype=float) for part in one.same(found[0], made[0]))
        assert a.shape == b.shape, f"{one.what}: {a.shape} and {b.shape}"
        far = np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)
        assert far <= one.allowed, f"{one.what}: the two ways differ by {far:.1e}"
        difference = f"{far:.0e}" if far else "none"
    ours, theirs = (1000 * statistics.median(seconds[side]) for side in ("ours", "theirs"))
    share = f"{statistics.median(shares):.2f}" if shares else ""
    cells = [one.what, one.against, one.unit, f"{theirs:.3g}", f"{ours:.3g}"]
    return "| " + " | ".join([*cells, f"{theirs / ours:.1f}", share, difference]) + " |"


class Measured:
    """The model's limit, measured when it is asked for, in CPU seconds."""

    def __init__(self, lm):
        self.name, self.layers, self._lm = lm.name, lm.n_layers, lm

    def anew(self) -> None:
        """Measure it now: what a machine gives changes while it works."""
        from stages import BUDGET

        from steerpaper.engine.limit import measure

        self.limit = measure(self._lm, BUDGET, time.process_time)


def rows(folder: Path, short: bool, parts: list[str], word: str, times: int) -> Iterator[str]:
    """The table's rows, as they are made.

    Args:
        parts: which of PARTS.
        word: of each, the rows whose first column holds this.
    """
    import torch
    from stages import SHORT, Sizes, lookups, sampling, steering
    from transformers import AutoModelForCausalLM

    from steerpaper.engine.proof import load
    from steerpaper.workflow import heap

    # as a job has it
    heap.keep_freed()
    lm = load(folder, device="cpu", dtype="float32", threads=1)
    # without nnsight's places to read and write
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    sizes, limit = SHORT if short else Sizes(), Measured(lm)
    made = {
        "steering": steering(lm, module, folder, sizes),
        "sampling": sampling(lm, module, sizes),
        "lookups": lookups(lm, sizes),
    }
    for one in chain(*(made[part] for part in parts if part in made)):
        if word in one.what:
            limit.anew()
            yield compared(one, limit, 1 if short else times)
    if "start" in parts and not short:
        yield from start_of_a_job(lm, times)


# the start of a job

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
times["transformers and nnsight"] = clock()
lm, _ = load_manifest(sys.argv[2], device="cpu", dtype="float32", threads=1)
times["the model with its tokenizer"] = clock()
read_activations(lm, [Choice("a", [1, 2, 3], [4], [5])], 64)
times["a first pass"] = clock()
print(json.dumps(times))
"""


def phases(how: str, engine: Path) -> dict[str, float]:
    """CPU milliseconds of each phase of one process; what comes before is in the first."""
    code = "import sys\n" + JOB.replace("HOW", how)
    process = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "scripts"), str(engine)],
        capture_output=True,
        text=True,
        check=True,
    )
    ends = json.loads(process.stdout.splitlines()[-1])
    starts = [0.0, *list(ends.values())[:-1]]
    return {
        name: 1000 * (end - start) for (name, end), start in zip(ends.items(), starts, strict=True)
    }


def start_of_a_job(lm, times: int) -> Iterator[str]:
    """From the start of a process to a pass of the embedded model, by phase."""
    from steerpaper.engine.proof import engine_file
    from steerpaper.workflow.files import write_json

    folder = ROOT / "results/models" / lm.name
    with tempfile.TemporaryDirectory() as work:
        engine = Path(work) / "engine.json"
        write_json(engine, engine_file(lm, os.path.relpath(folder, work)))
        # in turn, so that what else the machine does is shared
        runs = [(phases(LEAN, engine), phases(WHOLE, engine)) for _ in range(times)]
    ours, theirs = (
        {name: statistics.median(run[side][name] for run in runs) for name in runs[0][side]}
        for side in (0, 1)
    )
    for name in (*ours, "start of a job"):
        a, b = (one[name] if name in one else sum(one.values()) for one in (theirs, ours))
        said = name if name not in ours else f"start of a job: {name}"
        yield f"| {said} | all imported | job | {a:.0f} | {b:.0f} | {a / b:.1f} | | |"


def about() -> str:
    """What was measured on, and when."""
    import torch

    from steerpaper.engine.limit import machine

    names = ("torch", "transformers", "nnsight")
    return (
        f"{machine(torch.device('cpu'))}, {os.cpu_count()} cores, one thread; Python "
        f"{platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in names)
    ) + f"; {datetime.now(UTC):%Y-%m-%d}"


def tiny(folder: Path) -> Path:
    """A tiny random model."""
    from tiny_models import make_model, make_tokenizer

    return make_model(folder / "tiny", "llama", make_tokenizer(folder / "tokenizer"))


def main() -> None:
    """Print the table as it is made; unless it is short or in part, put it into the page."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--short", action="store_true", help="a tiny model, once")
    asked.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts of the table")
    asked.add_argument("--rows", default="", help="of these, rows whose first column holds this")
    asked.add_argument("--model", type=Path, help="a model folder in Hugging Face format")
    asked.add_argument("--times", type=int, default=TIMES, help="runs of each side")
    told = asked.parse_args()
    lines = [HEAD]
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as work:
        default = ROOT / "results/models/smollm2-135m-instruct"
        folder = told.model or (tiny(Path(work)) if told.short else default)
        for row in rows(folder, told.short, told.only, told.rows, told.times):
            lines.append(row)
            print(row, flush=True)
        said = about()
    print(f"\n{said}")
    if told.short or told.only != PARTS or told.rows or told.model or told.times != TIMES:
        return
    before, _, rest = DOC.read_text(encoding="utf-8").partition(MARKERS[0])
    after = rest.partition(MARKERS[1])[2]
    table = "\n".join([MARKERS[0], *lines, "", said, MARKERS[1]])
    DOC.write_text(before + table + after, encoding="utf-8")


if __name__ == "__main__":
    main()
