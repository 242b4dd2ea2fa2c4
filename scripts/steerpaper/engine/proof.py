"""Proof, on the user's own model, that what the engine computes is what a plain pass computes.

Prompts that share a beginning longer than any window are scored by the engine's own ways, and by
full passes of one row without a cache, in which hooks do the steering. The fastest way of running
the model in which all agree is the one that is used.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from steerpaper.engine.batching import last_tokens, read_rows, run_rows
from steerpaper.engine.condition import Condition
from steerpaper.engine.finding import find, residual_of
from steerpaper.engine.folder import reading, told
from steerpaper.engine.forward import RESIDUAL, picked
from steerpaper.engine.how import WAYS, How
from steerpaper.engine.model import LanguageModel, open_folder, out_of_memory, wrap
from steerpaper.engine.remote import at_once, own_logits, plain_there, remote_origin
from steerpaper.engine.score import score_completions
from steerpaper.engine.text import token_ids
from steerpaper.errors import UserError
from steerpaper.seeds import stream

log = logging.getLogger(__name__)

# ordinary words, so that no token is one that stands for a picture
TEXT = (
    "In the morning the harbor was quiet, and only two boats had come back with fish. She counted "
    "the boxes, wrote the number down, and asked who would drive to the market before noon. "
)
# how far two ways may be from each other, by dtype, in standard deviations of the plain logits over
# the vocabulary, a token that is scored; and of the residual stream's norm
ALLOWED = {torch.float32: 5e-5, torch.float16: 0.02, torch.bfloat16: 0.1}
SHARED, OWN, ANSWER = 20, (5, 11), (1, 6)  # tokens: of all prompts, of each, of its completions
# the longest window that a shared beginning is made longer than
LONGEST = 8192
# keys of configurations that say how far attention looks, or where it begins anew
WINDOWS = ("sliding_window", "attention_chunk_size", "window_size", "local_attention_window")
OFF = 0.1  # of the largest logit: bfloat16's steps make 1% at most


@dataclass(frozen=True)
class Check:
    """One comparison with plain passes.

    Attributes:
        way: how the model was run.
        check: what was compared.
        difference, allowed: the largest, in `unit`.
        unit: nats, or a share of the residual stream's norm.
        note: what was raised where nothing could be compared.
    """

    way: str
    check: str
    difference: float
    allowed: float
    unit: str
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the two ways agree."""
        return self.difference <= self.allowed


def load(directory: str | Path, *, name: str | None = None, **how: Any) -> LanguageModel:
    """Load a model folder, find its parts, and prove how it can be run.

    Args:
        how: as `open_folder` takes it: device, dtype, threads and more.

    Raises:
        UserError: as `open_folder`, `find` and `prove`.
    """
    return load_proved(directory, name=name, **how)[0]


def load_proved(
    directory: str | Path, *, name: str | None = None, **how: Any
) -> tuple[LanguageModel, list[Check]]:
    """`load`, and what was compared."""
    name = name or Path(directory).name
    if (origin := remote_origin(directory)) is not None:
        from steerpaper.engine.service import open_remote

        return prove(open_remote(directory, origin, how["dtype"], how["threads"]))
    module, tokenizer = open_folder(directory, **how)
    with reading(f"{directory}: the model cannot be run"):
        lm = wrap(module, tokenizer, find(module, name), How(), name)
        return prove(lm)


def prove(lm: LanguageModel) -> tuple[LanguageModel, list[Check]]:
    """The model as it is run fastest and right, and all that was compared on the way.

    Raises:
        UserError: it cannot be run so that steering it is what a plain pass with a hook gives.
    """
    case = Case(lm)
    _check_logits(lm, case)
    checks: list[Check] = []
    # no keys and values travel
    ways = [how for how in WAYS if not (lm.remote and how.reuse)]
    for how in ways:
        mine = list(_checks(lm.run(how), case))
        checks += mine
        failed = [check for check in mine if not check.holds]
        if not failed:
            if how != ways[0]:
                log.warning("model %s is run %s", lm.name, how.told)
            return lm.run(how), checks
        for check in failed:
            log.info(
                "model %s, %s: %s is not what plain passes give (off by %.2g %s%s)",
                *(lm.name, check.way, check.check, check.difference, check.unit, check.note),
            )
    worst = "; ".join(
        f"{check.check} (off by {check.difference:.2g} {check.unit}{check.note})"
        for check in failed
    )
    raise UserError(
        f"model {lm.name}: cannot be steered or read: even one row at a time, without a cache, "
        f"what the workflow computes is not what the model's own pass gives: {worst}"
    )


class Case:
    """Prompts, completions and vectors, and what plain passes make of them.

    Attributes:
        prompts: token ids.
        completions: the prompt's number and token ids.
        vectors: one direction [L, d], half as long as the residual stream's tokens.
        conditions: steering at the first, middle and last block, and at several.
        plain: float64 [completion, 1 + condition] summed log-probabilities, unsteered first.
        last: residual stream after the last block at each prompt's last token, [prompt, d].
        spread: standard deviation of the logits over the vocabulary.
        logits: of the first prompt's last token, [V].
    """

    def __init__(self, lm: LanguageModel) -> None:
        """Make texts that fit, and run the plain passes."""
        shared = SHARED
        window = longest_window(lm.nn._module.config.get_text_config())
        room = (_longest(lm) or 10**9) - max(OWN) - max(ANSWER)
        if window and window + 8 <= min(room, LONGEST + 8):
            shared = max(SHARED, window + 8)
        elif window:
            log.warning(
                "model %s: that its window of %d tokens is kept to is not proved beyond %d tokens",
                *(lm.name, window, room),
            )
        ids = words(lm, min(shared, max(1, room)) + sum(OWN) + 2 * sum(ANSWER))
        shared = min(shared, max(1, room))
        rest = iter(ids[shared:])
        self.prompts = [[*ids[:shared], *_take(rest, own)] for own in OWN]
        self.completions = [
            (prompt, _take(rest, length)) for prompt in range(len(OWN)) for length in ANSWER
        ]
        blocks = sorted({0, lm.n_layers // 2, lm.n_layers - 1})
        sets = [(layer,) for layer in blocks] + ([tuple(blocks)] if len(blocks) > 1 else [])
        self.conditions = [Condition(one, "proof", 1.0) for one in sets]
        tasks = [partial(PlainRun, lm, prompt) for prompt in self.prompts]
        runs = at_once(lm.remote, tasks)
        self.last = torch.stack([run.residual[-1] for run in runs])
        self.logits = runs[0].logits
        self.spread = max(float(self.logits.double().std()), 1e-12)
        drawn = stream(0, "proof").standard_normal((lm.n_layers, lm.width))
        length = 0.5 * runs[0].norms / np.sqrt(lm.width)
        self.vectors = {"proof": (drawn * length[:, None]).astype(np.float32)}
        self.plain = self._plain(lm)

    def _plain(self, lm: LanguageModel) -> NDArray[np.float64]:
        """All unsteered, and one completion a condition: the rest is not a number."""
        found = np.full((len(self.completions), 1 + len(self.conditions)), np.nan)
        wanted = [
            (number, column)
            for number in range(len(self.completions))
            for column in range(1 + len(self.conditions))
            if column == 0 or number == column % len(self.completions)
        ]

        def run(number: int, column: int) -> float:
            prompt, ids = self.completions[number]
            condition = self.conditions[column - 1] if column else None
            one = PlainRun(lm, self.prompts[prompt], ids, self.vectors["proof"], condition)
            return one.logprob

        runs = at_once(lm.remote, [partial(run, *place) for place in wanted])
        for place, logprob in zip(wanted, runs, strict=True):
            found[place] = logprob
        return found


class PlainRun:
    """A full pass of one row, without a cache, by the model's own module.

    Attributes:
        residual: after the last block, [token, d].
        norms: mean norm of the residual stream's tokens after each block, [L].
        logits: of the last token, [V].
        logprob: summed over the completion's tokens, in nats.
    """

    def __init__(
        self,
        lm: LanguageModel,
        prompt: Sequence[int],
        completion: Sequence[int] = (),
        vector: NDArray[np.float32] | None = None,
        condition: Condition | None = None,
    ) -> None:
        """Run it.

        Args:
            vector: [L, d], added from the prompt's last token on at the condition's blocks.
        """
        ids = torch.tensor([[*prompt, *completion]], device=lm.device)
        pushed = {}
        if condition is not None and vector is not None:
            pushed = {layer: torch.as_tensor(vector[layer]) for layer in condition.layers}
        run = plain_there if lm.remote else _plain_here
        self.norms, self.residual, logits = run(
            lm, ids, len(prompt) - 1, pushed, 1 + len(completion)
        )
        self.logits = logits[-1].cpu()
        logprobs = logits.double().log_softmax(-1)
        self.logprob = sum(float(logprobs[k, token]) for k, token in enumerate(completion))


def _plain_here(
    lm: LanguageModel, ids: Tensor, start: int, pushed: Mapping[int, Tensor], last: int
) -> tuple[NDArray[np.float64], Tensor, Tensor]:
    """Norms [L], residual stream [token, d] and logits [last, V] of a row, by the model itself.

    Args:
        ids: [1, token].
        pushed: by block, what is added from column `start` on.
        last: tokens whose logits are asked for.
    """
    norms, residual = np.zeros(lm.n_layers), torch.empty(0)

    def after(layer: int, output: Any) -> Any:
        nonlocal residual
        hidden = residual_of(output)
        if layer in pushed:
            hidden = hidden.clone()
            hidden[:, start:] += pushed[layer].to(hidden)
        norms[layer] = float(hidden[0].float().norm(dim=-1).mean())
        residual = hidden[0]
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    keep = {"logits_to_keep": last} if "logits_to_keep" in lm.takes else {}
    with _hooked([block._module for block in lm.blocks], after):
        logits = lm.nn._module(input_ids=ids, use_cache=False, **keep).logits[0, -last:]
    if lm.readout:
        logits = lm.readout(residual[-last:])
    return norms, residual.float().cpu(), logits


@contextmanager
def _hooked(blocks: Sequence[nn.Module], after: Any) -> Iterator[None]:
    handles = [
        block.register_forward_hook(lambda _m, _i, output, layer=layer: after(layer, output))
        for layer, block in enumerate(blocks)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def longest_window(config: Any) -> int:
    """The widest of the windows or chunks that a configuration gives attention; 0 without."""
    found = [getattr(config, key, None) for key in WINDOWS]
    return max((one for one in found if isinstance(one, int)), default=0)


def words(lm: LanguageModel, number: int) -> list[int]:
    """So many tokens of ordinary text."""
    ids = token_ids(lm.tokenizer, TEXT)
    return (ids * (number // len(ids) + 1))[:number]


def _take(ids: Iterator[int], number: int) -> list[int]:
    return [next(ids) for _ in range(number)]


def _longest(lm: LanguageModel) -> int | None:
    """Tokens that a row may have, without moving the positions of a model that moves them."""
    limits = [lm.context, lm.stretch.original if lm.stretch and lm.stretch.moves else 0]
    return min((limit for limit in limits if limit), default=None)


def _check_logits(lm: LanguageModel, case: Case) -> None:
    """Compare float32 logits with the model's own, which are on a coarser grid."""
    if lm.readout is None:
        return
    ids = torch.tensor([case.prompts[0]], device=lm.device)
    if lm.remote:
        theirs = own_logits(lm, ids)
    else:
        theirs = lm.nn._module(input_ids=ids, use_cache=False).logits[0, -1].float().cpu()
    off = float((case.logits - theirs).abs().max() / theirs.abs().max())
    if off > OFF:
        raise UserError(
            f"model {lm.name}: its logits are not what final norm and unembedding give (off by "
            f"{off:.0%} of the largest): it does something else to them, which must be added to "
            "scripts/steerpaper/engine/unembed.py; or set dtype: float32"
        )


def _checks(lm: LanguageModel, case: Case) -> Iterator[Check]:
    """Compare one way of running the model with plain passes."""
    allowed, way = ALLOWED[lm.dtype], lm.how.told
    off, note = _tried(lambda: _whole_rows(lm, case))
    what = "whole rows of different lengths in one batch"
    yield Check(way, what, off, allowed, "of the residual stream's norm", note)
    scores = np.full_like(case.plain, np.inf)

    def run() -> float:
        scores[:] = _scores(lm, case)
        return 0.0

    _, note = _tried(run)
    tokens = np.array([len(ids) for _, ids in case.completions])
    offs = np.nanmax(np.abs(scores - case.plain) / tokens[:, None], axis=0)
    for off, condition in zip(offs.tolist(), [None, *case.conditions], strict=True):
        how = "unsteered" if condition is None else f"steered after block {condition.label}"
        what = f"log-probabilities, {how}"
        yield Check(way, what, off, allowed * case.spread, "nats a token", note)


def _tried(measure: Callable[[], float]) -> tuple[float, str]:
    """A difference, or infinity and what was raised instead."""
    try:
        off = measure()
        return (off if np.isfinite(off) else float("inf")), ""
    except Exception as error:  # whatever a model raises at a cache or a mask that it does not know
        if out_of_memory(error) or (isinstance(error, UserError) and "memory" in str(error)):
            raise
        return float("inf"), f": {told(error)}"


def _whole_rows(lm: LanguageModel, case: Case) -> float:
    """How far the residual stream at the last tokens is off, as a share of its norm."""
    found = torch.zeros_like(case.last)
    site = lm.n_layers - 1, RESIDUAL

    def look(items: list[int], ids: Tensor, mask: Tensor) -> None:
        row, token = last_tokens(mask)
        got = read_rows(lm, ids, mask, {site: lambda x: picked(x, row, token)})[site]
        found[items] = got.float().cpu()

    widest = max(map(len, case.prompts))
    for _ in run_rows(lm, case.prompts, 4 * widest, look):
        pass
    return float(((found - case.last).norm(dim=-1) / case.last.norm(dim=-1)).max())


def _scores(lm: LanguageModel, case: Case) -> NDArray[np.float64]:
    """What the engine makes of the case: float64 [completion, 1 + condition]."""
    found = np.zeros_like(case.plain)
    batches = score_completions(
        *(lm, case.prompts, case.completions, case.vectors, case.conditions),
        budget=4 * max(map(len, case.prompts)),
    )
    for numbers, values in batches:
        found[numbers] = values
    return found


def engine_file(lm: LanguageModel, model: str) -> Mapping[str, Any]:
    """What a job that runs the model is given: where it and its parts are, and how it is run.

    Args:
        model: its folder, from where the file will be.
    """
    return {"model": model, "where": vars(lm.where), "how": vars(lm.how)}
