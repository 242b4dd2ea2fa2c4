"""The service that runs a model's passes: NDIF, or nnsight's own simulation of it in this process.

What is sent is nnsight's model without weights, and the programs (`engine.recorded`). A request
that was accepted is asked after until it is done; what fails in between is tried again.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import nnsight
import torch
from torch import Tensor, nn

from steerpaper.engine.finding import Architecture, find
from steerpaper.engine.folder import read_config, reading
from steerpaper.engine.how import How
from steerpaper.engine.lean import SHAPES, real
from steerpaper.engine.model import LanguageModel, wrap
from steerpaper.engine.pretrained import described
from steerpaper.engine.reach import Again, Backend, api_key, deployed, reached, refused
from steerpaper.engine.remote import Remote
from steerpaper.engine.text import load_tokenizer
from steerpaper.engine.there import run_there
from steerpaper.engine.together import Program, Send

log = logging.getLogger(__name__)

# no keys and values travel
ANEW = How(reuse=False)
# seconds between the tries of a request
PAUSES = (2, 5, 15, 30, 60, 120)
# seconds between two questions after a job that runs: from, to
ASKED = 0.1, 3.0

# what runs there travels as its source, though this module is not there
nnsight.register("steerpaper.engine.there")


def where_of(module: nn.Module, architecture: Architecture) -> dict[str, Any]:
    """What `run_there` is told of a model's final norm and unembedding."""
    norm = module.get_submodule(architecture.final_norm) if architecture.final_norm else None
    return {
        "norm": architecture.final_norm,
        "layer_norm": isinstance(norm, nn.LayerNorm),
        "epsilon": float(getattr(norm, "eps", 0.0)) if isinstance(norm, nn.LayerNorm) else 0.0,
        "unembedding": architecture.unembedding,
    }


def simulated(model: Any, where: dict[str, Any]) -> Send:
    """Sends to this process: requests are serialized and run without the project's modules."""

    def send(programs: Sequence[Program]) -> list[list[Tensor]]:
        with model.session(remote="local"):
            found: list[list[Tensor]] = run_there(model, where, programs).save()
        return found

    return send


@dataclass(frozen=True)
class Service:
    """Sends to NDIF.

    Attributes:
        model: nnsight's, without weights.
        where: see `where_of`.
        connect: opens a request.
        pauses: seconds between tries.
    """

    model: Any
    where: dict[str, Any]
    connect: Callable[[], Backend]
    pauses: Sequence[float] = PAUSES

    def __call__(self, programs: Sequence[Program]) -> list[list[Tensor]]:
        """Run programs, and try again what failed by no fault of theirs.

        Raises:
            UserError: the service refuses the request, fails at it, or cannot be reached.
            TooLargeError: it takes more memory or time than there is.
        """
        for tried, pause in enumerate([*self.pauses, None], start=1):
            try:
                return self._once(programs)
            except Again as error:
                if pause is None:
                    raise refused(f"{error} ({tried} tries)") from error
                log.warning("NDIF: %s: again in %g s (try %d)", error, pause, tried)
                time.sleep(pause)
        raise AssertionError

    def _once(self, programs: Sequence[Program]) -> list[list[Tensor]]:
        backend, model, where = self.connect(), self.model, self.where
        with reached(), model.session(backend=backend):
            found = run_there(model, where, programs).save()  # noqa: F841
        result = self._result(backend)
        answer: list[list[Tensor]] = result["found"]
        return answer

    def _result(self, backend: Backend) -> dict[str, Any]:
        """What a job saved; while it runs, a lost connection costs nothing but another question."""
        pause, failed = ASKED[0], 0
        while True:
            try:
                with reached():
                    result: dict[str, Any] | None = backend.poll()
                failed = 0
            except Again:
                failed += 1
                if failed > len(self.pauses):
                    raise
                time.sleep(self.pauses[failed - 1])
                continue
            if result is not None:
                return result
            time.sleep(pause)
            pause = min(1.5 * pause, ASKED[1])


def _found(directory: str | Path, name: str) -> Architecture:
    """Where a model's parts are, on a pass without numbers.

    Models leave out what depends on numbers where they see that there are none. Products of experts
    have shapes in bfloat16 alone.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with reading(f"{directory}: where the model's parts are cannot be found without its weights"):
        module = described(directory, torch.bfloat16)
        with FakeTensorMode(allow_non_fake_inputs=True):
            return find(module, name)


def open_remote(
    directory: str | Path,
    origin: Mapping[str, Any],
    dtype: str,
    threads: int,
    where: Architecture | None = None,
    how: How = ANEW,
) -> LanguageModel:
    """A model that runs at NDIF, from a folder of its configuration and tokenizer.

    Args:
        origin: the folder's manifest.
        where: its architecture; by default found on a pass without numbers.

    Raises:
        UserError: there is no key for the service, or the files cannot be used.
    """
    api_key()
    real(SHAPES)
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    read_config(directory)
    tokenizer = load_tokenizer(directory)
    with reading(f"{directory}: the model cannot be run at NDIF"):
        module = described(directory, getattr(torch, dtype))
        where = where or _found(directory, origin["name"])
        lm = wrap(module, tokenizer, where, how, origin["name"])
    key = cache(lambda: deployed(origin["id"], origin["revision"]))
    env = {"attn_implementation": lm.nn.attn_implementation}
    service = Service(lm.nn, where_of(module, where), lambda: Backend(key(), env))
    return replace(lm, remote=Remote(module, where, service))
