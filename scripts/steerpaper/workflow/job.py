"""The adapter between Snakemake and the scripts: the only place that knows of Snakemake.

A script defines `main(job)` and ends with `run(main)`. A rule's configuration values are one
mapping, `params: settings=`, since Snakemake compares params as a set of values without names: a
mapping's representation holds the names, so that no change goes unseen; what the script does is
another, `code=`. Snakemake puts its job object into the script's globals; `run` turns it into a
plain `Job`, notes it beside the log as `<log>.job.json`, and sends what the script logs to the log
file and to the terminal. It checks what the job reads against the records of what made it, and
leaves a record of what the job makes (`records.py`). To debug a job by itself:

    python scripts/steering/vectors.py results/default/logs/vectors/optimism.answers.log.job.json
"""

import atexit
import hashlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, NotRequired, TypedDict, TypeVar

from steerpaper.errors import UserError, writing
from steerpaper.workflow import counts, garbage, heap
from steerpaper.workflow.runs import join

log = logging.getLogger("steerpaper")

Params = TypeVar("Params")


class Run(TypedDict):
    """How a job is told to run the model."""

    device: str
    dtype: str
    quantize: NotRequired[str]
    attention: NotRequired[str]
    tf32: NotRequired[bool]


@dataclass(frozen=True)
class Job(Generic[Params]):
    """What a script is given.

    Attributes:
        input, output: named files, one or a list each.
        params: its rule's configuration values, by key.
        wildcards: of the rule.
        threads: CPU threads it may use.
        log: its log file.
        batch_tokens: tokens a forward pass may hold, or `auto` (see `engine.budget`). No result
            depends on it, so it is no parameter: a change re-runs nothing.
        placing: how much of the machine the model takes, by the names of `engine.placing.Placing`;
            as little a parameter.
        rule: its rule's name.
        code: digests of what the script does, by module.
        made: by input, the settings that its files must have been made with.
        how: how the job is to go about it. No result depends on it, so Snakemake is not told.
    """

    input: dict[str, Any]
    output: dict[str, Any]
    params: Params
    wildcards: dict[str, str]
    threads: int
    log: str
    batch_tokens: int | str = "auto"
    placing: dict[str, Any] = field(default_factory=dict)
    rule: str = ""
    code: dict[str, str] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def machine(self) -> dict[str, Any]:
        """How much of the machine a model takes, as `load` takes it."""
        return {"threads": self.threads, "placing": self.placing}

    @property
    def config_digest(self) -> str:
        """Hex digest of the configuration values that this job was given."""
        return hashlib.sha256(json.dumps(self.params, sort_keys=True).encode()).hexdigest()


def _named(items: Any) -> dict[str, Any]:
    return {
        key: list(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for key, value in items.items()
    }


def _current_job() -> Job[Any]:
    snakemake = getattr(sys.modules["__main__"], "snakemake", None)
    if snakemake is None:
        if len(sys.argv) != 2:
            raise UserError(
                f"usage: python {sys.argv[0]} LOG.job.json (Snakemake writes one beside each log)"
            )
        return Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    job = Job(
        input=_named(snakemake.input) | vars(snakemake.params.get("beside", SimpleNamespace())),
        output=_named(snakemake.output),
        params=snakemake.params.get("settings", {}),
        wildcards=dict(snakemake.wildcards.items()),
        threads=snakemake.threads,
        log=str(snakemake.log[0]),
        batch_tokens=snakemake.config[
            "remote_batch_tokens" if snakemake.config["model"]["remote"] else "batch_tokens"
        ],
        placing={"gpus": snakemake.config["gpus_per_job"], **snakemake.config["offload"]},
        rule=snakemake.rule,
        code=snakemake.params.get("code", {}),
        made=snakemake.params.get("made", {}),
        how=vars(snakemake.params.get("how", SimpleNamespace())),
    )
    write_note(job)
    return job


def write_note(job: Job[Any]) -> None:
    """Note a job beside its log, so that its script runs by itself."""
    note = Path(job.log + ".job.json")
    with writing(note):
        note.write_text(json.dumps(asdict(job), indent=2) + "\n", encoding="utf-8")


def about(job: Job[Any]) -> dict[str, Any]:
    """What a record says of the job that made a file: rule, wildcards, settings and code."""
    from steerpaper.workflow import records

    said = {"rule": job.rule, "wildcards": job.wildcards, "settings": job.params, "code": job.code}
    portable: dict[str, Any] = records.portable(said)
    return portable


def files_read(job: Job[Any]) -> list[str]:
    """A job's inputs; of a model its manifest alone, which has the digests of its files."""
    return [path for key, value in job.input.items() if key != "files" for path in paths_of(value)]


def recorded(main: Callable[[Job[Any]], None], job: Job[Any]) -> None:
    """Run `main` on inputs that are what their jobs wrote, and record what it makes.

    Raises:
        UserError: an input is not what its job wrote, or was made under other settings.
    """
    from steerpaper.workflow import records

    study = records.study_of(job.log)
    if study is None:  # a job of one's own, outside a study
        return main(job)
    read = records.checked(study, files_read(job))
    records.refuse_others(
        study,
        {path: job.made[key] for key in job.made for path in paths_of(job.input.get(key, []))},
    )
    main(job)
    records.write_records(
        study,
        [path for value in job.output.values() for path in paths_of(value)],
        about(job),
        records.portable(read),
    )


def paths_of(value: str | list[str]) -> list[str]:
    """A named file, or several, as a list."""
    return [value] if isinstance(value, str) else value


def run(
    main: Callable[[Job[Any]], None],
    around: Callable[[Callable[[Job[Any]], None], Job[Any]], None] = recorded,
) -> None:
    """Run a script's `main` on the current job; a `UserError` is one line and exit status 1.

    A script's last call: where `main` ends well, its process ends here.

    Args:
        around: what calls `main`, and sees to records.
    """
    try:
        job = _current_job()
    except UserError as error:
        sys.exit(str(error))
    # libraries read this when they are imported; main() imports what is heavy after it is set
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(job.threads)
    if isinstance(job.params, dict) and job.params.get("run"):
        # until the model is loaded (engine.model.open_folder)
        garbage.wait()
        heap.keep_freed()
    Path(job.log).parent.mkdir(parents=True, exist_ok=True)
    join(job.log)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(levelname)s: %(message)s",
        handlers=[logging.FileHandler(job.log, mode="w"), logging.StreamHandler(sys.stderr)],
    )
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    # a log file on a full disk: the terminal still has every line, and no traceback between them
    logging.raiseExceptions = False
    counts.start_anew()
    try:
        around(main, job)
        counts.write(job.log, job.batch_tokens)
    except UserError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        with open(job.log, "a", encoding="utf-8") as out:
            traceback.print_exc(file=out)
        raise
    # at once: Python would take down all that was imported, a second of CPU with torch
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
