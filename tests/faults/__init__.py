"""What a machine can do to a run, done to a tiny study; each shows that nothing is lost.

A module a kind of fault, each a generator of outcomes. `make faults` does them all and prints a
table (`report.py`); tests/test_faults.py does a few of each.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tiny_models import ROOT

# say how a run went, not what it found
ASIDE = re.compile(
    r"results/(tiny/(logs|benchmarks|records)|models/\.speed)/|report/run_times\.html$"
)
INPUTS = ("config.yaml", "one.jsonl", "one.yaml", "two.json")
# where a kill may leave something: our names for what is under way
# a file that was damaged is kept beside the one that was made anew
KEPT = ".damaged"
HALF = re.compile(r"^\..*\.part|^\..*\.tmp|\.\d+\.part$")


@dataclass(frozen=True)
class Outcome:
    """What became of a study after a fault.

    Attributes:
        fault: what was done.
        where: to which job, file or moment.
        said: what was said to it, in one line.
        lost: results that differ afterwards from those of an undisturbed run, or are not there.
        left: files that are left over.
        seconds: how long it took until the results were there again.
    """

    fault: str
    where: str
    said: str
    lost: list[str]
    left: list[str]
    seconds: float


@dataclass(frozen=True)
class NotedJob:
    """A finished job: its note, which says what it was given, and its script."""

    note: Path
    script: Path
    inputs: list[str]
    outputs: list[str]

    @property
    def name(self) -> str:
        """The job by its log, as a person finds it."""
        return str(self.note).partition("/logs/")[2].removesuffix(".log.job.json")


def results_of(folder: Path) -> dict[str, str]:
    """Every results file of a study, and the digest of what it holds."""
    paths = [*(folder / "results").rglob("*"), *(folder / "figures").rglob("*")]
    named = {str(path.relative_to(folder)): path for path in paths if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if not ASIDE.search(name)
        and path.name != ".lock"
        and not name.endswith(KEPT)
        and not HALF.search(path.name)
    }


def lost(folder: Path, reference: dict[str, str], only: str = "") -> list[str]:
    """Results that are not as in the reference, of those whose names begin with `only`."""
    found = results_of(folder)
    names = {name for name in {*reference, *found} if name.startswith(only)}
    return sorted(name for name in names if reference.get(name) != found.get(name))


def left_over(folder: Path) -> list[str]:
    """Files that were under way when something was stopped, and locks of Snakemake's."""
    paths = [*(folder / "results").rglob("*"), *(folder / "figures").rglob("*")]
    halves = [path for path in paths if HALF.search(path.name)]
    locks = list((folder / ".snakemake/locks").glob("*"))
    return sorted(str(path.relative_to(folder)) for path in [*halves, *locks])


def copy_of(study: Path, folder: Path) -> Path:
    """A study's copy to do harm to."""
    shutil.copytree(study, folder, symlinks=True)
    return folder


def begun_anew(study: Path, folder: Path) -> Path:
    """A study with nothing made yet."""
    folder.mkdir(parents=True)
    for name in INPUTS:
        shutil.copy2(study / name, folder / name)
    return folder


def noted_jobs(folder: Path) -> list[NotedJob]:
    """The jobs of a finished study that run by a script."""
    found = {}
    for path in (folder / ".snakemake/metadata").rglob("*"):
        if path.is_file():
            record = json.loads(path.read_text())
            script = re.search(r'"\.\./(scripts/.*\.py)"', record["code"] or "")
            if script and record["log"]:
                found[record["log"][0]] = ROOT / script[1]
    jobs = []
    for log, script in sorted(found.items()):
        note = Path(f"{log}.job.json")
        job = json.loads((folder / note).read_text())
        jobs.append(NotedJob(note, script, _flat(job["input"]), _flat(job["output"])))
    return jobs


def _flat(named: dict[str, str | list[str]]) -> list[str]:
    lists = [[paths] if isinstance(paths, str) else paths for paths in named.values()]
    return [path for paths in lists for path in paths]


def run_job(folder: Path, job: NotedJob, before: str = "") -> subprocess.CompletedProcess:
    """Run a job by itself, from its note.

    Args:
        before: Python that does the fault, run in the job's process before its script.
    """
    code = (
        f"import runpy, sys\nsys.argv = [{str(job.script)!r}, {str(job.note)!r}]\n{before}\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "scripts"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def said(process: subprocess.CompletedProcess, wanted: str) -> str:
    """The line of what was said that holds `wanted`, without this machine's folders, or the last.

    A traceback is named as one: it is no message.
    """
    lines = [line.strip() for line in (process.stdout + process.stderr).splitlines()]
    lines = [line for line in lines if line]
    found = [line for line in lines if wanted and wanted in line] or lines[-1:] or ["nothing"]
    if "Traceback" in process.stderr:
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Invalid)\b", line)]
        found = [f"TRACEBACK {(raised or lines)[0]}"]
    return re.sub(r"/tmp/\S*/(?=[\w.-]+)", "", found[0].removeprefix("ERROR: "))
