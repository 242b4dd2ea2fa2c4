"""How fast a model is on this machine, by plain batched passes: the limit that jobs are held to.

Measured once a machine and model, in about five seconds, at the end of the first job that runs the
model, and kept beside the models. No result depends on it.
"""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.model import LanguageModel
from steerpaper.engine.text import token_ids
from steerpaper.workflow import counts
from steerpaper.workflow.counts import Limit

SECONDS, PASSES = 4.0, 20  # whichever comes first
LENGTH, LOGITS = 64, 64  # tokens of a row; rows of logits
TEXT = "In the morning the harbor was quiet, and only two boats had come back with fish. "


def watch(
    lm: LanguageModel, directory: Path, files: Mapping[str, str], told: Mapping[str, Any]
) -> None:
    """Have what this model computes compared with its limit at the job's end.

    Args:
        directory: the model's folder.
        files: digests of its files.
        told: how it was told to run: dtype, threads and more.
    """
    if lm.remote:
        counts.watch(lm.name, lm.n_layers, None)
        return
    about = {"machine": machine(lm.device), "torch": torch.__version__, "model": lm.name, **told}
    folder = directory.parent / ".speed"
    digests = hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()

    def find(batch_tokens: int) -> Limit:
        what = {**about, "batch_tokens": batch_tokens}
        key = json.dumps([what, digests], sort_keys=True, default=str)
        path = folder / f"{directory.name}.{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
        return counts.measured_once(path, what, partial(measure, lm, batch_tokens))

    counts.watch(lm.name, lm.n_layers, find)


def machine(device: torch.device) -> str:
    """What a model runs on, by the name of the product."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def measure(
    lm: LanguageModel, batch_tokens: int, clock: Callable[[], float] = time.perf_counter
) -> Limit:
    """Tokens × blocks and rows of logits that plain passes of whole batches make in a second.

    Args:
        clock: seconds of what.
    """
    length = min(LENGTH, lm.context or LENGTH)
    text = token_ids(lm.tokenizer, TEXT)
    row = torch.tensor((text * (length // len(text) + 1))[:length], device=lm.device)
    module = lm.nn._module
    # logits of all tokens can take more memory than the job
    keep = {"logits_to_keep": 1} if "logits_to_keep" in lm.takes else {}

    def run(rows: int) -> Callable[[], Any]:
        ids = row.expand(rows, -1).contiguous()
        mask = torch.ones_like(ids)
        return lambda: module(input_ids=ids, attention_mask=mask, use_cache=False, **keep)

    with torch.no_grad():
        rows = max(1, batch_tokens // length)
        few = min(rows, 2)
        seconds = _median(run(few), lm.device, clock, passes=1)
        # as many rows as leave time for three passes
        while rows > few and 3 * seconds * rows / few > SECONDS:
            rows //= 2
        seconds = _median(run(rows), lm.device, clock)
        hidden = torch.zeros(1, LOGITS, lm.width, dtype=lm.dtype, device=lm.device)
        unembedding = module.get_submodule(lm.where.unembedding)
        of_logits = _median(lambda: unembedding(hidden), lm.device, clock, passes=5)
    logits = LOGITS / of_logits
    # what one row's last token took
    blocks = max(seconds - (rows if keep else rows * length) / logits, 0.1 * seconds)
    return Limit(rows * length * lm.n_layers / blocks, logits)


def _median(
    run: Callable[[], Any],
    device: torch.device,
    clock: Callable[[], float],
    passes: int = PASSES,
) -> float:
    """Median seconds of a call, of at least one behind a warm one, within the time there is."""
    found: list[float] = []
    start = time.perf_counter()
    while len(found) <= passes:
        begun = clock()
        run()
        _wait(device)
        found.append(clock() - begun)
        if len(found) > 1 and time.perf_counter() - start + found[-1] > SECONDS:
            break
    behind: Tensor = torch.tensor(found[1:], dtype=torch.float64)
    return float(behind.median())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
