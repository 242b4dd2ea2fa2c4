"""What a job's passes through the model computed, and how near that comes to the machine's limit.

The limit is the model's own: the time that plain batched passes take here for the same tokens ×
blocks and the same rows of logits (`engine/limit.py`). Counted is what must be computed: tokens,
each times the blocks that it ran through; what fills rows and batches up is counted beside it. A
pass back for gradients of activations counts as another one forward: the weights have none.

Counts lie beside Snakemake's benchmark files, and are no part of the results.
"""

import fcntl
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError
from steerpaper.workflow.files import read_json, write_json

log = logging.getLogger("steerpaper")

# how many of a batch's first rows are of use, or which of the first rows; None where all are
Useful = int | Sequence[bool] | None
_useful: ContextVar[Useful] = ContextVar("useful", default=None)
_apart: ContextVar[bool] = ContextVar("apart", default=False)
BUDGET = 1024  # tokens that the limit's passes hold where no job says how many its own do


@dataclass(frozen=True)
class Limit:
    """How fast a model is on this machine.

    Attributes:
        blocks: tokens × blocks a second.
        logits: rows of logits a second.
    """

    blocks: float
    logits: float


@dataclass
class Counted:
    """What passes through one model computed; numbers of a GPU stay there until they are read.

    Attributes:
        layers: blocks of the model.
        limit: measures, or reads what was measured before; None where passes run elsewhere.
        passes: forward and back.
        tokens: that went through the model, or through a part of it.
        blocks: tokens × blocks that they went through.
        positions: the same, with what fills rows and batches up.
        logits: rows of logits that are looked at.
        needed: tokens × blocks that are needed where that was said (`engine/needed.py`).
        held: those that were computed for it.
    """

    layers: int
    limit: Callable[[int], Limit] | None = None
    passes: int = 0
    tokens: Any = 0
    blocks: Any = 0
    positions: int = 0
    logits: Any = 0
    needed: int = 0
    held: Any = 0
    last: tuple[Any, int, int] = (0, 0, 0)


@dataclass
class _Job:
    """Counts of a process.

    Attributes:
        models: by name.
        now: that of the last pass.
        rows: of use in the last pass.
        begun, ended: the first pass and the last, by the clock.
        budget: tokens that a pass may hold; 0 where that was not asked for.
    """

    models: dict[str, Counted] = field(default_factory=dict)
    now: Counted | None = None
    rows: int = 0
    begun: float = 0.0
    ended: float = 0.0
    budget: int = 0


STARTED = time.perf_counter()
_job = _Job()


def watch(name: str, layers: int, limit: Callable[[int], Limit] | None) -> None:
    """Say how the limit of a model is found, by the tokens of a pass; no pass is made here."""
    counted(name, layers).limit = limit


def counted(name: str, layers: int) -> Counted:
    """What was counted of a model so far."""
    return _job.models.setdefault(name, Counted(layers))


def start_anew() -> None:
    """Forget what was counted."""
    _job.__init__()  # type: ignore[misc]


@contextmanager
def useful(rows: Useful) -> Iterator[None]:
    """Say which rows of the passes that follow are of use; the others fill the batch up."""
    token = _useful.set(rows)
    try:
        yield
    finally:
        _useful.reset(token)


@contextmanager
def apart() -> Iterator[None]:
    """What is run in here is no part of the job: a measurement of the machine."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


def needing(name: str, layers: int) -> Callable[[int], None]:
    """Begin to hold what is computed beside what is needed.

    Returns:
        what ends it, and is told what is needed: tokens × blocks.
    """
    one = counted(name, layers)
    before = one.blocks

    def held(needed: int) -> None:
        if not _apart.get():
            one.needed += needed
            one.held = one.held + (one.blocks - before)

    return held


def passes_hold(budget: int) -> int:
    """Note how many tokens a pass of this job may hold: the same number."""
    _job.budget = budget
    return budget


def useful_of(numbers: Iterable[int]) -> list[bool]:
    """Which of a batch's rows are of use, by their numbers."""
    said = _useful.get()
    if said is None:
        return [True for _ in numbers]
    first = said if isinstance(said, int) else len(said)
    return [number < first and (isinstance(said, int) or said[number]) for number in numbers]


def begin(name: str, layers: int, mask: Any, blocks: int) -> None:
    """Count a pass that begins now.

    Args:
        mask: [row, token] of the tokens that it is given, a tensor.
        blocks: how many blocks it runs through.
    """
    if _apart.get():
        return
    _job.begun = _job.begun or time.perf_counter()
    rows, columns = mask.shape
    of_use = useful_of(range(rows))
    _job.rows = sum(of_use)
    _job.now = counted(name, layers)
    if columns == 1:
        tokens = _job.rows
    elif of_use == sorted(of_use, reverse=True):
        # a slice: what is to be sent to a GPU is waited for
        tokens = _sum(mask[: _job.rows])
    else:
        tokens = _sum(mask * mask.new_tensor([[one] for one in of_use]))
    _add(_job.now, (tokens, blocks, rows * columns))


def end() -> None:
    """A pass has ended."""
    _job.ended = time.perf_counter()


def back() -> None:
    """Count a pass back through the last one, which has ended."""
    if _job.now:
        _add(_job.now, _job.now.last)
    end()


def logits(mask: Any = None) -> None:
    """Count rows of logits that are looked at; not of a model that runs elsewhere.

    Args:
        mask: 1 for each, a tensor; without it one for each row of use.
    """
    if _job.now and _job.now.limit:
        _job.now.logits = _job.now.logits + (_job.rows if mask is None else _sum(mask))


def _sum(mask: Any) -> Any:
    """How many are 1: a number that lies on a GPU is not waited for."""
    return int(mask.sum()) if mask.device.type == "cpu" else mask.sum()


def _add(one: Counted, last: tuple[Any, int, int]) -> None:
    tokens, blocks, positions = one.last = last
    one.passes += 1
    one.tokens = one.tokens + tokens
    one.blocks = one.blocks + tokens * blocks
    one.positions += positions * blocks


# at a job's end


def report(asked: int | str = BUDGET) -> dict[str, Any]:
    """What this process has counted; empty where no pass was made.

    Args:
        asked: tokens that a pass may hold, where the job has not said it.

    Returns:
        models, passes, tokens, whole (tokens × blocks, over the blocks of the model), positions
        (the same with what fills rows and batches up), needed and held (the same where what is
        needed was said), logits, seconds between the first pass and the last, limit_seconds (None
        where it is not known), gpu_mb.
    """
    models = {name: one for name, one in _job.models.items() if one.passes}
    if not models:
        return {}
    budget = _job.budget or (asked if isinstance(asked, int) else BUDGET)
    limits = [_limit(one, budget) for one in models.values()]
    least = [
        int(one.blocks) / limit.blocks + int(one.logits) / limit.logits
        for one, limit in zip(models.values(), limits, strict=True)
        if limit
    ]
    return {
        "models": list(models),
        "passes": sum(one.passes for one in models.values()),
        "tokens": sum(int(one.tokens) for one in models.values()),
        "whole": sum(int(one.blocks) / one.layers for one in models.values()),
        "positions": sum(one.positions / one.layers for one in models.values()),
        "needed": sum(one.needed / one.layers for one in models.values()),
        "held": sum(int(one.held) / one.layers for one in models.values()),
        "logits": sum(int(one.logits) for one in models.values()),
        "seconds": _job.ended - _job.begun,
        "limit_seconds": sum(least) if len(least) == len(models) else None,
        "gpu_mb": gpu_memory(),
    }


def _limit(one: Counted, batch_tokens: int) -> Limit | None:
    try:
        return one.limit(batch_tokens) if one.limit else None
    except (RuntimeError, MemoryError) as error:
        log.info("how fast the model is could not be measured: %s", error)
        return None


def gpu_memory() -> float:
    """The most memory that this process's tensors had on its GPUs, MB; 0 without a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    devices = range(torch.cuda.device_count())
    return float(sum(torch.cuda.max_memory_allocated(device) for device in devices) / 1e6)


def peak_memory() -> float:
    """The most memory (RSS) that this process had, MB."""
    with suppress(OSError, IndexError, ValueError):
        # what getrusage says is a parent's, where that was larger
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return float(status.partition("VmHWM:")[2].split()[0]) / 1000
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def place(log_file: str | Path) -> Path | None:
    """Where the counts of a job lie, by its log: beside its benchmark file."""
    for folder in Path(log_file).parents:
        if folder.name == "logs":
            own = Path(log_file).relative_to(folder).with_suffix(".json")
            return folder.parent / "benchmarks" / own
    return None


def write(log_file: str, asked: int | str) -> None:
    """Log and keep what a job has counted; nothing where it made no pass.

    What a job makes is whole by now: what cannot be kept fails no job.

    Args:
        asked: as in `report`.
    """
    path = place(log_file)
    try:
        made = report(asked)
        if made:
            words = in_words(made, time.perf_counter() - STARTED)
            log.info("%s; %.0f MB at most", words, peak_memory())
        if path and made:
            write_json(path, made)
        elif path:
            path.unlink(missing_ok=True)
    except (OSError, UserError) as error:
        log.info("what was counted could not be kept: %s", error)


def in_words(made: Mapping[str, Any], whole_job: float) -> str:
    """Counts in one line.

    Args:
        whole_job: seconds.
    """
    seconds = max(made["seconds"], 1e-9)
    padding = f"{made['positions'] / made['whole'] - 1:.0%} more are padding"
    if made["needed"]:
        padding += f", {made['held'] / made['needed']:.2f} times what is needed"
    said = (
        f"{made['tokens']} tokens in {made['passes']} passes, as much as {made['whole']:.0f} "
        f"through all blocks ({padding}); "
        f"{made['whole'] / seconds:.0f} a second between first and last pass"
    )
    if made["limit_seconds"] is not None:
        of_passes, of_job = (made["limit_seconds"] / one for one in (seconds, whole_job))
        said += f", {of_passes:.2f} of the limit ({of_job:.2f} of the whole job's time)"
    return said + (f"; {made['gpu_mb']:.0f} MB of GPU memory" if made["gpu_mb"] else "")


def measured_once(path: Path, about: Mapping[str, Any], measure: Callable[[], Limit]) -> Limit:
    """A limit that was measured before, or is measured now and kept; one process at a time.

    Args:
        about: of what it is the limit, for whoever reads the file.
    """
    with _alone(path.with_name(".lock")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = read_json(path)
            return Limit(found["blocks"], found["logits"])
        limit = measure()
        try:
            write_json(path, {**vars(limit), **about})
        except (OSError, UserError) as error:
            # a folder that cannot be written to: it is measured again
            log.info("%s: not kept (%s)", path, error)
        return limit


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Be the only process in here, where the file system has locks."""
    file = None
    with suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if file is not None:
            os.close(file)
