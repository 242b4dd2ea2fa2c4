"""Generation under steering: text sampled token by token, the intervention made at every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from steerpaper.engine import needed
from steerpaper.engine.batching import Prefix, Prefixes, empty_prefix, filled, padded, run_batches
from steerpaper.engine.caches import Change, Site
from steerpaper.engine.condition import Condition, untouched
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.guards import check_length, named, refuse_broken
from steerpaper.engine.guards import steered as steered_row
from steerpaper.engine.intervene import Vectors, directions_at, steer, strengths
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.placing import moved
from steerpaper.engine.sampling import draw, nucleus_by_sorting
from steerpaper.engine.unembed import FEW, Logits
from steerpaper.engine.widths import LEAST, width_of
from steerpaper.progress import progress
from steerpaper.seeds import stream
from steerpaper.workflow import counts


@dataclass(frozen=True)
class Request:
    """One completion to make.

    Attributes:
        prompt: token ids.
        condition: how the model is steered; None for the unsteered model.
        stream: names the random stream of this completion; None for greedy decoding.
        name: what a message calls the prompt.
        prefilled: how many of the prompt's tokens stand behind the user's turn.
    """

    prompt: Sequence[int]
    condition: Condition | None
    stream: tuple[object, ...] | None
    name: str = "a prompt"
    prefilled: int = 0


@dataclass(frozen=True)
class Decoding:
    """How completions are made.

    Attributes:
        max_new_tokens: of every completion.
        temperature, top_p: of the sampled ones.
        budget: tokens a forward pass may hold.
        key: of the configuration, for `max_new_tokens`.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    budget: int
    key: str = "max_new_tokens"


def complete(
    lm: LanguageModel, requests: Sequence[Request], vectors: Vectors, decoding: Decoding
) -> list[list[int]]:
    """The completions of `sample_sequences` without the end-of-sequence token."""
    sequences = sample_sequences(lm, requests, vectors, decoding)
    return [[token for token in sequence if token not in lm.ends] for sequence in sequences]


def sample_sequences(
    lm: LanguageModel, requests: Sequence[Request], vectors: Vectors, decoding: Decoding
) -> list[list[int]]:
    """Token ids of every request's completion, its end-of-sequence token with it if it has one.

    A completion depends on its request alone, not on the others in its batch: every row has its
    own random stream. Prompts are run once each, whatever the number of their completions.

    Args:
        vectors: float [L, d] for every direction that a request's condition names.

    Raises:
        UserError: a prompt and what may be written to it are longer than the model's context
            (nothing is sampled then), or a logit is not finite.
    """
    for one in requests:
        what = f"{one.name}: {len(one.prompt)} tokens and up to {decoding.max_new_tokens} new"
        longest = len(one.prompt) + decoding.max_new_tokens
        check_length(lm, longest, what, f"lower {decoding.key} or shorten the prompt")
    longest = max((len(one.prompt) for one in requests), default=0) + decoding.max_new_tokens
    lm = lm.for_length(longest)
    found: list[list[int]] = [[] for _ in requests]
    # where more of a prompt is steered than its last token, that differs from row to row: nothing
    # is shared
    whole = any(_steered_before_the_end(request) for request in requests)
    texts = sorted({() if whole else tuple(request.prompt[:-1]) for request in requests})
    number = {text: k for k, text in enumerate(texts)}
    text_of = [number[() if whole else tuple(request.prompt[:-1])] for request in requests]
    held = counts.needing(lm.name, lm.n_layers)
    prefixes = Prefixes(lm, texts)

    def run(batch: list[int]) -> list[list[int]]:
        # a step of fewer rows is summed in another order: the first request fills up
        rows_of = filled(batch, 1)
        distinct = sorted({text_of[request] for request in rows_of})
        place = torch.tensor([distinct.index(text_of[request]) for request in rows_of])
        if whole:
            prefix, rows = empty_prefix(lm, len(rows_of)), [requests[r].prompt for r in rows_of]
        else:
            prefix = prefixes.run(distinct).select(moved(place, lm.device))
            rows = [requests[r].prompt[-1:] for r in rows_of]
        width = _first_width(rows[0], whole or not prefixes.widths[text_of[batch[0]]])
        chosen = [requests[r] for r in rows_of]
        with counts.useful(len(batch)):
            return _decode(lm, chosen, prefix, rows, width, vectors, decoding)[: len(batch)]

    # the columns of a request's row in the end
    widths = [
        prefixes.root_length
        + prefixes.widths[text]
        + (width_of(len(request.prompt)) if whole else 1)
        + decoding.max_new_tokens
        for text, request in zip(text_of, requests, strict=True)
    ]
    # a row keeps keys and values, but makes logits for its last token only: eight times as many
    # tokens fit as in a pass that scores them all, and the more rows share a step the better
    batches = run_batches(widths, decoding.budget * 8, run, lm.together)
    for batch, completions in progress(batches, len(requests), "completions"):
        for request, completion in zip(batch, completions, strict=True):
            found[request] = completion
    prompts = [(one.prompt, one.prefilled, one.condition) for one in requests]
    held(needed.sampled(prompts, found, lm.n_layers))
    return found


def _steered_before_the_end(request: Request) -> bool:
    """Whether tokens before the prompt's last are steered."""
    if request.condition is None:
        return False
    end = len(request.prompt) - 1
    return untouched(len(request.prompt), request.prefilled, [request.condition.positions]) < end


def _first_width(row: Sequence[int], unpadded: bool) -> int:
    """Columns of the first step; one is padding where nothing before it is."""
    return width_of(len(row)) + 1 if unpadded else len(row)


def _decode(
    lm: LanguageModel,
    requests: Sequence[Request],
    prefix: Prefix,
    rows: Sequence[Sequence[int]],
    width: int,
    vectors: Vectors,
    decoding: Decoding,
) -> list[list[int]]:
    """Decode all requests in step; a row that has ended leaves, as long as `LEAST` are left."""
    push = _Push(lm, requests, vectors)
    # numbers lie where tokens are chosen
    device = lm.device if on_device(lm) else torch.device("cpu")
    choose = _Choice(requests, decoding, device)
    of_use = counts.useful_of(range(len(requests)))
    completions: list[list[int]] = [[] for _ in requests]
    ended = [False] * len(requests)
    alive = torch.arange(len(requests))
    ids, mask = padded(rows, lm, width, side="left")
    place = torch.arange(1 - width, 1)
    for step in range(decoding.max_new_tokens):
        mask = prefix.extend(mask)
        away = on_device(lm)
        look = partial(choose.there, alive=alive, step=step) if away else _last
        going = [of_use[request] and not ended[request] for request in alive.tolist()]
        with counts.useful(going):
            _, logits = forward(
                lm,
                ids,
                mask,
                prefix.cache,
                edits=push.edits(alive, place + step if step else place),
                logits=look,
                logits_of_last=1,
            )
            counts.logits()
        assert logits is not None
        # the one wait for the device in a step
        logits = logits.cpu()
        broken = ~logits.isfinite().all(-1)
        if broken.any():
            row = int(alive[broken][0])
            _refuse(lm, requests[row], completions[row], vectors)
        chosen = logits[:, 0].long() if away else choose.tokens(logits, alive, step)
        for request, token in zip(alive.tolist(), chosen.tolist(), strict=True):
            if not ended[request]:
                completions[request].append(token)
                ended[request] = token in lm.ends
        if all(ended):
            break
        keep = _rows_to_keep([ended[request] for request in alive.tolist()])
        prefix = Prefix(prefix.cache, mask)
        if len(keep) < len(alive):
            prefix = prefix.select(moved(keep, lm.device))
        alive, ids = alive[keep], moved(chosen[keep][:, None], lm.device)
        mask, place = torch.ones_like(ids), torch.zeros(1, dtype=torch.long)
    return completions


def on_device(lm: LanguageModel) -> bool:
    """Whether tokens are chosen where the logits are: these would be long in coming."""
    return bool(lm.remote) or lm.device.type == "cuda"


def _last(logits: Logits) -> Tensor:
    """Logits of the last token, float32 [row, V]."""
    return logits[:, -1].float()


def _rows_to_keep(ended: Sequence[bool]) -> Tensor:
    """The rows that go on, and so many ended ones that `LEAST` are left."""
    going = [row for row, over in enumerate(ended) if not over]
    over = [row for row, over in enumerate(ended) if over]
    return torch.tensor(sorted(going + over[: max(0, LEAST - len(going))]))


class _Push:
    """What is done to the residual stream of every request."""

    def __init__(self, lm: LanguageModel, requests: Sequence[Request], vectors: Vectors) -> None:
        self._conditions = [request.condition for request in requests]
        self._prefilled = [request.prefilled for request in requests]
        steered = [condition for condition in self._conditions if condition is not None]
        self._kinds = sorted({(c.intervention, layer) for c in steered for layer in c.layers})
        names = sorted({condition.direction for condition in steered})
        self._direction = [
            names.index(condition.direction) if condition is not None else 0
            for condition in self._conditions
        ]
        self._vectors = {
            layer: directions_at(vectors, names, layer, lm.like(layer))[:, None]
            for _, layer in self._kinds
        }

    def edits(self, alive: Tensor, place: Tensor) -> dict[Site, Change]:
        """The edits of one step.

        Args:
            alive: [row] the request of every row.
            place: [token] where the step's tokens stand relative to the last prompt token.
        """
        rows = alive.tolist()
        which = torch.tensor([self._direction[row] for row in rows])
        edits: dict[Site, Change] = {}
        for intervention, layer in self._kinds:
            strength = torch.zeros(len(rows), len(place), 1)
            mine = [
                (number, condition)
                for number, row in enumerate(rows)
                if (condition := self._conditions[row]) is not None
                and layer in condition.layers
                and condition.intervention == intervention
            ]
            if mine:
                numbers = [number for number, _ in mine]
                places = place.expand(len(mine), -1)
                behind = [self._prefilled[rows[number]] for number in numbers]
                strength[numbers] = strengths([one for _, one in mine], places, behind)
            if strength.any():
                direction = self._vectors[layer][which.to(self._vectors[layer].device)]
                edits[layer, RESIDUAL] = _then(
                    edits.get((layer, RESIDUAL)), steer(intervention, direction, strength)
                )
        return edits


def _then(first: Change | None, second: Change) -> Change:
    return second if first is None else lambda hidden: second(first(hidden))


def _refuse(
    lm: LanguageModel, request: Request, written: Sequence[int], vectors: Vectors
) -> NoReturn:
    """End a job at a completion whose next token has no logits."""
    ids = [*request.prompt, *written]
    last = len(request.prompt) - 1
    edits = steered_row(lm, vectors, request.condition, len(ids), last, request.prefilled)
    what = f"sampling ({request.name}, {named(request.condition)})"
    refuse_broken(lm, ids, edits, what)


class _Choice:
    """Chooses next tokens: greedily, or by the request's own random stream."""

    def __init__(
        self, requests: Sequence[Request], decoding: Decoding, device: torch.device
    ) -> None:
        self._decoding = decoding
        self._sampled = torch.tensor([request.stream is not None for request in requests])
        nothing = np.zeros(decoding.max_new_tokens)
        uniforms = [
            nothing if r.stream is None else stream(*r.stream).random(decoding.max_new_tokens)
            for r in requests
        ]
        self._uniforms = moved(torch.tensor(np.array(uniforms)), device)

    def tokens(self, logits: Tensor, alive: Tensor, step: int) -> Tensor:
        """The next token of every row.

        Args:
            logits: [row, V].
            alive: [row] the request of every row.
        """
        chosen: Tensor = logits.argmax(-1)
        drawn = self._sampled[alive]
        if drawn.any():
            uniform, temperature, top_p = self._how(alive[drawn], step)
            # a few rows' probabilities stay in a CPU's caches
            few = zip(logits[drawn].split(FEW), uniform.split(FEW), strict=True)
            chosen[drawn] = torch.cat([draw(*both, temperature, top_p) for both in few])
        return chosen

    def there(self, logits: Logits, alive: Tensor, step: int) -> Tensor:
        """The next token of every row as a number that is not finite where a logit is not.

        Float64 [row, 1], where V logits a row would have to come: for a GPU, and for a model that
        runs elsewhere.
        """
        last = logits[:, -1].float()
        drawn = self._sampled[alive].nonzero()[:, 0]
        chosen = last.argmax(-1)
        if len(drawn) == len(alive):
            chosen = draw(last, *self._how(alive, step), keep=nucleus_by_sorting)
        elif len(drawn):
            chosen[drawn] = draw(
                last[drawn], *self._how(alive[drawn], step), keep=nucleus_by_sorting
            )
        broken = (~last.isfinite()).any(-1)
        return chosen.double().masked_fill(broken, torch.nan)[:, None]

    def _how(self, requests: Tensor, step: int) -> tuple[Tensor, float, float]:
        """What `draw` is told of some requests: numbers, temperature, top_p."""
        decoding = self._decoding
        return self._uniforms[requests, step], decoding.temperature, decoding.top_p
