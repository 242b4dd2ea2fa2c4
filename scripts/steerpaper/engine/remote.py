"""A model that runs elsewhere: passes are recorded here, sent, and run there (`model.remote`).

Of this model there is no weight here: its module is on torch's meta device, which has names and
shapes. A pass that is asked for is recorded with all that is done on its way (`engine.recorded`),
run there (`engine.there`), and what is asked for comes back and nothing else. Keys and values do
not travel: whole rows are run.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steerpaper.engine.caches import Change, Site
from steerpaper.engine.finding import Architecture
from steerpaper.engine.forward import RESIDUAL, place
from steerpaper.engine.lean import SHAPES, real
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.recorded import Tape, recording
from steerpaper.engine.together import Result, Send, Together
from steerpaper.engine.unembed import Readout, after_unembedding
from steerpaper.errors import UserError
from steerpaper.workflow.files import read_json

# a place where something stands there: path from the model, input or output, and what of it
Place = tuple[str, str, str]


class Remote:
    """Where a model's passes run.

    Attributes:
        readout: makes float32 logits of a recorded residual stream.
        vocabulary: V.
        together: sends what is asked for.
    """

    def __init__(self, module: nn.Module, architecture: Architecture, send: Send) -> None:
        """Say how it is reached.

        Args:
            module: the model's, weights or not.
        """
        real(SHAPES)
        self.together = Together(send)
        self._tape: Tape | None = None
        config = module.config.get_text_config()  # type: ignore[operator, union-attr]
        unembedding = module.get_submodule(architecture.unembedding)
        self.vocabulary: int = unembedding.get_parameter("weight").shape[0]
        self.readout = Readout(lambda x: x, self._logits, after_unembedding(config))

    def ask(
        self, make: Callable[[], tuple[dict[Site, Tensor], Tensor | None]]
    ) -> tuple[dict[Site, Tensor], Tensor | None]:
        """Record what a function makes of passes, have it made there, and return it."""
        assert self._tape is None
        with recording() as tape:
            self._tape = tape
            try:
                reads, logits = make()
                wanted = [*reads.values(), *([] if logits is None else [logits])]
                program = tape.program(wanted)
            finally:
                self._tape = None
        found = self.together.ask(program)
        return dict(zip(reads, found, strict=False)), None if logits is None else found[-1]

    def one_pass(
        self,
        inputs: Mapping[str, Tensor],
        options: Mapping[str, Any],
        sites: Sequence[tuple[Site, Place, int]],
        dtype: torch.dtype,
        edits: Mapping[Site, Change],
        reads: Mapping[Site, Change],
    ) -> dict[Site, Tensor]:
        """Record one pass; what is read is recorded too.

        Args:
            sites: in the order in which the pass reaches them: site, place, width of what stands
                there.
            dtype: the model's.
        """
        tape = self._tape
        assert tape is not None
        size = inputs["input_ids"].shape
        steps, found, made = [], {}, []
        for site, (path, end, take), width in sites:
            tensor = tape.new(torch.empty(*size, width, dtype=dtype, device="meta"))
            change, look_at = edits.get(site, _nothing), reads.get(site, _nothing)
            edit, inside, edited = tape.aside(partial(change, tensor))
            look, more, read = tape.aside(partial(look_at, tensor))
            if read is not None:
                found[site] = read
            made += [tensor.number, *inside, *more]
            steps.append(
                {
                    "path": path,
                    "end": end,
                    "take": take,
                    "rows": size[0],
                    "tensor": tensor.number,
                    "edit": edit,
                    "edited": None if edited is None else _number(tape, edit, edited),
                    "look": look,
                }
            )
        given = {name: tape.give(tensor) for name, tensor in inputs.items()}
        one = {"inputs": given, "options": dict(options), "sites": steps, "inside": made}
        tape.steps.append(("pass", "", None, one, {}))
        return found

    def _logits(self, residual: Tensor) -> Tensor:
        assert self._tape is not None
        return self._tape.logits(residual, self.vocabulary)

    def gradients(self, of: Tensor, along: Sequence[Tensor]) -> list[Tensor]:
        """Record the derivatives of a number with respect to tensors of the passes before."""
        assert self._tape is not None
        return self._tape.gradients(of, along)


def plain_there(
    lm: LanguageModel, ids: Tensor, start: int, pushed: Mapping[int, Tensor], last: int
) -> tuple[NDArray[np.float64], Tensor, Tensor]:
    """Norms [L], residual stream [token, d] and logits [last, V] of a row, in one plain pass.

    Args:
        ids: [1, token].
        pushed: by block, what is added from column `start` on.
        last: tokens whose logits are asked for.

    Raises:
        UserError: the model has another dtype where it runs.
    """
    remote = lm.remote
    assert remote
    sites = [(layer, RESIDUAL) for layer in range(lm.n_layers)]

    def push(hidden: Tensor, vector: Tensor) -> Tensor:
        hidden = hidden.clone()
        hidden[:, start:] += vector.to(lm.dtype)
        return hidden

    def make() -> tuple[dict[Site, Tensor], Tensor]:
        reads: dict[Site, Change] = dict.fromkeys(sites, lambda h: h[0].float().norm(dim=-1).mean())
        reads[sites[-1]] = lambda h: h[0]
        edits = {
            (layer, RESIDUAL): partial(push, vector=vector) for layer, vector in pushed.items()
        }
        places = [(site, *place(lm, site)) for site in sites]
        inputs, options = {"input_ids": ids}, {"use_cache": False}
        got = remote.one_pass(inputs, options, places, lm.dtype, edits, reads)
        assert lm.readout
        return got, lm.readout(got[sites[-1]][-last:])

    found, logits = remote.ask(make)
    residual = found.pop(sites[-1])
    if residual.dtype != lm.dtype:
        theirs, ours = (str(one).removeprefix("torch.") for one in (residual.dtype, lm.dtype))
        raise UserError(
            f"model {lm.name}: runs in {theirs} at NDIF (model.remote), and dtype is {ours}; set "
            f"dtype: {theirs}"
        )
    residual = residual.float()
    norms = [float(norm) for norm in found.values()] + [float(residual.norm(dim=-1).mean())]
    assert logits is not None
    return np.array(norms), residual, logits


def own_logits(lm: LanguageModel, ids: Tensor) -> Tensor:
    """The logits [V] of a row's last token that the model itself makes where it runs."""
    remote, site = lm.remote, (lm.n_layers, "logits")
    assert remote

    def make() -> tuple[dict[Site, Tensor], None]:
        places = [(site, ("", "output", "logits"), remote.vocabulary)]
        look = {site: lambda x: x[0, -1].float()}
        inputs, options = {"input_ids": ids}, {"use_cache": False}
        return remote.one_pass(inputs, options, places, lm.dtype, {}, look), None

    return remote.ask(make)[0][site]


def remote_origin(directory: str | Path) -> dict[str, Any] | None:
    """The manifest of a model folder whose model runs elsewhere; None of any other."""
    manifest = Path(directory) / "manifest.json"
    origin = read_json(manifest) if manifest.exists() else {}
    return origin if origin.get("remote") else None


def _nothing(_: Tensor) -> None:
    """What is done at a site that is not edited, or not read."""


def _number(tape: Tape, steps: list[Any], tensor: Tensor) -> int:
    """The number of what a function gave; what it brought with it is made a recorded tensor."""
    number = getattr(tensor, "number", None)
    if number is None:
        made = tape.new(torch.empty(tensor.shape, dtype=tensor.dtype, device="meta"))
        steps.append(("method", "clone", made.number, ({"given": tape.give(tensor)},), {}))
        return made.number
    return int(number)


def at_once(remote: Remote | None, tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Do tasks one after the other; of a model that runs elsewhere, side by side."""
    return [task() for task in tasks] if remote is None else remote.together.at_once(tasks)
