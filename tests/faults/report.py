"""Do all faults and print what became of them: `make faults`."""

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "scripts")]

from study import make_study, snakemake  # noqa: E402
from tiny_models import ROOT, make_model, make_tokenizer  # noqa: E402

from faults import NotedJob, Outcome, copy_of, noted_jobs  # noqa: E402
from faults.clock import turned  # noqa: E402
from faults.damage import DAMAGES, KINDS, damage  # noqa: E402
from faults.disk import full, read_only  # noqa: E402
from faults.gpu_lock import losses  # noqa: E402
from faults.kills import kills  # noqa: E402
from faults.memory import at_one_row, at_random, model_jobs  # noqa: E402
from faults.two_runs import at_once  # noqa: E402

TABLE = ROOT / "results/faults.md"
VECTORS = "results/tiny/vectors/one.answers.safetensors"
SWEEP = "results/tiny/tables/layer_sweep.csv"


def made(folder: Path) -> Path:
    """A finished tiny study, with all its parts."""
    model = make_model(folder / "model", "llama", make_tokenizer(folder / "words"))
    study = folder / "study"
    study.mkdir()
    config = make_study(study, model, parts=True)
    config["steering"]["prompts"]["csv"] = True
    process = snakemake(study, config, cores=2)
    if process.returncode:
        sys.exit(process.stderr)
    return study


def by_job(study: Path, folder: Path, share: int) -> Iterator[Outcome]:
    """The faults that are done to each job by itself; `share` of two halves of the jobs."""
    jobs: list[NotedJob] = noted_jobs(study)[share::2]
    place = copy_of(study, folder / f"jobs{share}")
    models = model_jobs(place, jobs)
    yield from full(place, jobs)
    yield from read_only(place, jobs)
    yield from at_random(place, models, seed=share)
    yield from at_one_row(place, models)


def by_run(study: Path, folder: Path) -> Iterator[Outcome]:
    """The faults that are done to whole runs."""
    jobs = noted_jobs(study)
    yield from kills(study, folder / "killed", number=20, seed=0)
    for kind in KINDS:
        for name in DAMAGES:
            yield damage(study, folder / f"{kind}-{name}".replace(" ", "-"), jobs, kind, name)
    for days in (1, -1):
        yield turned(study, folder / f"clock{days}", SWEEP, days)
    yield from at_once(study, folder / "two", VECTORS)
    (folder / "locks").mkdir()
    yield from losses(folder / "locks")


def heard(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The outcomes, each told as it comes."""
    found = []
    for one in outcomes:
        found.append(one)
        print(f"{'LOST' if one.lost or one.left else 'ok'}\t{one.fault}\t{one.where}", flush=True)
    return found


def as_table(outcomes: Iterable[Outcome]) -> str:
    """A row an outcome, as it is pasted into a page."""
    rows = ["| fault | where | what was said | same to the byte | left over | seconds |"]
    rows += ["|---|---|---|---|---|---|"]
    for one in outcomes:
        same = "yes" if not one.lost else f"NO: {', '.join(one.lost)[:300]}"
        cells = [one.fault, one.where, one.said, same, ", ".join(one.left) or "nothing"]
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in cells]
        rows.append(f"| {' | '.join(cells)} | {one.seconds:.0f} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        study = made(folder)
        print(f"a study of {len(noted_jobs(study))} jobs is made", flush=True)
        outcomes = heard(by_run(study, folder))
        with ThreadPoolExecutor(2) as pool:
            halves = [pool.submit(heard, by_job(study, folder, share)) for share in (0, 1)]
        outcomes += [one for half in halves for one in half.result()]
    table = as_table(sorted(outcomes, key=lambda one: one.fault))
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table, encoding="utf-8")
    bad = [one for one in outcomes if one.lost or one.left]
    print(f"{table}\n{len(outcomes)} faults, {len(bad)} with a loss")
    print(f"{time.monotonic() - start:.0f} s; the table lies in {TABLE}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
