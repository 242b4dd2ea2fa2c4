"""Generation under steering: text sampled token by token, the intervention made at every step."""

from collections.abc import Iterable, Sequence
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
from steerpaper.engine.widths import width_of
from steerpaper.progress import progress
from steerpaper.seeds import stream
from steerpaper.workflow import counts, heap


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
    prefixes = Prefixes(lm, texts, decoding.budget)

    def run(batch: list[int]) -> list[list[int]]:
        chosen = [requests[number] for number in batch]
        alike = _alike((tuple(one.prompt), one.prefilled, one.condition) for one in chosen)
        # a step of fewer rows is summed in another order: the first one fills up
        rows_of = [batch[numbers[0]] for numbers in _filled(alike)]
        distinct = sorted({text_of[request] for request in rows_of})
        place = torch.tensor([distinct.index(text_of[request]) for request in rows_of])
        if whole:
            prefix, rows = empty_prefix(lm, len(rows_of)), [requests[r].prompt for r in rows_of]
        else:
            prefix = prefixes.run(distinct)
            prefix = prefix.select(moved(place, lm.device), room=decoding.max_new_tokens)
            rows = [requests[r].prompt[-1:] for r in rows_of]
        width = _first_width(rows[0], whole or not prefixes.widths[text_of[batch[0]]])
        heap.give_back()
        return _decode(lm, chosen, alike, prefix, rows, width, vectors, decoding)

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


def _alike(keys: Iterable[object]) -> list[list[int]]:
    """The numbers of equal keys together, in the order of their first."""
    found: dict[object, list[int]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key, []).append(number)
    return list(found.values())


def _filled(rows: Sequence[list[int]]) -> list[list[int]]:
    """Rows of one token with the first repeated until they are `LEAST`."""
    return [rows[number] for number in filled(range(len(rows)), 1)]


def _decode(
    lm: LanguageModel,
    requests: Sequence[Request],
    alike: list[list[int]],
    prefix: Prefix,
    rows: Sequence[Sequence[int]],
    width: int,
    vectors: Vectors,
    decoding: Decoding,
) -> list[list[int]]:
    """Decode all requests in step; those that have written the same so far are one row.

    Args:
        alike: the numbers of requests that begin as one row.
        prefix, rows: of these, and of what fills them up.
        width: columns of the first step.
    """
    push = _Push(lm, requests, vectors)
    # numbers lie where tokens are chosen
    away = on_device(lm)
    choose = _Choice(requests, decoding, lm.device if away else torch.device("cpu"))
    completions: list[list[int]] = [[] for _ in requests]
    ids, mask = padded(rows, lm, width, side="left")
    place = torch.arange(1 - width, 1)
    for step in range(decoding.max_new_tokens):
        mask = prefix.extend(mask)
        written = torch.tensor([number for numbers in alike for number in numbers])
        row_of = torch.tensor([row for row, numbers in enumerate(alike) for _ in numbers])
        look = partial(choose.there, rows=row_of, requests=written, step=step) if away else _last
        first = torch.tensor([numbers[0] for numbers in _filled(alike)])
        with counts.useful(len(alike)):
            _, logits = forward(
                lm,
                ids,
                mask,
                prefix.cache,
                edits=push.edits(first, place + step if step else place),
                logits=look,
                logits_of_last=1,
            )
            counts.logits()
        assert logits is not None
        # the one wait for the device in a step
        logits = logits.cpu()
        broken = ~logits.isfinite().all(-1)
        if broken.any():
            number = int((written if away else first)[broken][0])
            _refuse(lm, requests[number], completions[number], vectors)
        chosen = logits[:, 0].long() if away else choose.tokens(logits, row_of, written, step)
        going = chosen.new_tensor([token not in lm.ends for token in chosen.tolist()]).bool()
        for number, token in zip(written.tolist(), chosen.tolist(), strict=True):
            completions[number].append(token)
        if not going.any():
            break
        row_of, written, chosen = row_of[going], written[going], chosen[going]
        together = _alike(zip(row_of.tolist(), chosen.tolist(), strict=True))
        alike = [written[numbers].tolist() for numbers in together]
        kept = [numbers[0] for numbers in _filled(together)]
        prefix = Prefix(prefix.cache, mask)
        if row_of[kept].tolist() != [*range(len(mask))]:
            left = decoding.max_new_tokens - step - 1
            prefix = prefix.select(moved(row_of[kept], lm.device), room=left)
        ids = moved(chosen[kept][:, None], lm.device)
        mask, place = torch.ones_like(ids), torch.zeros(1, dtype=torch.long)
    return completions


def on_device(lm: LanguageModel) -> bool:
    """Whether tokens are chosen where the logits are: these would be long in coming."""
    return bool(lm.remote) or lm.device.type == "cuda"


def _last(logits: Logits) -> Tensor:
    """Logits of the last token, float32 [row, V]."""
    return logits[:, -1].float()


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

    def edits(self, requests: Tensor, place: Tensor) -> dict[Site, Change]:
        """The edits of one step.

        Args:
            requests: [row] a request of every row.
            place: [token] where the step's tokens stand relative to the last prompt token.
        """
        rows = requests.tolist()
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

    def tokens(self, logits: Tensor, rows: Tensor, requests: Tensor, step: int) -> Tensor:
        """The next token of every request.

        Args:
            logits: [row, V].
            rows: [request] where its logits are, ascending.
            requests: [request] its number.
        """
        chosen = logits.argmax(-1)[rows]
        drawn = self._sampled[requests].nonzero()[:, 0]
        # a few rows' probabilities stay in a CPU's caches
        for few in range(0, len(logits), FEW):
            mine = drawn[(rows[drawn] >= few) & (rows[drawn] < few + FEW)]
            if len(mine):
                some = logits[few : few + FEW]
                chosen[mine] = draw(some, rows[mine] - few, *self._how(requests[mine], step))
        return chosen

    def there(self, logits: Logits, rows: Tensor, requests: Tensor, step: int) -> Tensor:
        """The next token of every request as a number that is not finite where a logit is not.

        Float64 [request, 1], where V logits a row would have to come: for a GPU, and for a model
        that runs elsewhere.
        """
        last = logits[:, -1].float()
        drawn = self._sampled[requests].nonzero()[:, 0]
        chosen = last.argmax(-1)[rows]
        if len(drawn):
            how = self._how(requests[drawn], step)
            found = draw(last, rows[drawn], *how, keep=nucleus_by_sorting)
            if len(drawn) == len(requests):
                chosen = found
            else:
                chosen[drawn] = found
        broken = (~last.isfinite()).any(-1)[rows]
        return chosen.double().masked_fill(broken, torch.nan)[:, None]

    def _how(self, requests: Tensor, step: int) -> tuple[Tensor, float, float]:
        """What `draw` is told of some requests: numbers, temperature, top_p."""
        decoding = self._decoding
        return self._uniforms[requests, step], decoding.temperature, decoding.top_p
