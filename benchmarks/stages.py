"""What `bench.py` compares: a stage of the workflow, and the plain way or a peer beside it.

The plain way of the lookups stands in for the authors' code, which needs another version of
transformers: one neuron, prompt and head at a time, whole forward passes with hooks, logits
included. It takes the same steps in the same order, but it is not their code: theirs does top
activations in batches, and reads more out of every pass.
"""

import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import plain
import plain_lookups
import torch
from peers.make import python_of

from steerpaper.engine.batching import padded
from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, sample_sequences
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice, choices
from steerpaper.engine.weights import head_count, neurons_out
from steerpaper.lookups.ablations import Ablation, ablate
from steerpaper.lookups.attribution import head_attribution
from steerpaper.lookups.neurons import best_congruence, read_directions
from steerpaper.lookups.raw import stdlib_texts
from steerpaper.lookups.top_activations import top_activations
from steerpaper.lookups.truncation import Firing, shortest_lengths, truncate
from steerpaper.seeds import stream
from steerpaper.steering.activations import read_activations
from steerpaper.steering.items import read_items
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.vectors import mean_difference

ROOT = Path(__file__).parent.parent
BUDGET = 1024
TOP = 8


@dataclass(frozen=True)
class Sizes:
    """How much is done; of what takes the plain way long it does a part.

    Attributes:
        items: of a behaviour.
        steered: of these, in the sweep; `few` of them the plain way.
        samples, tokens: completions of a prompt, and the most that each is long.
        batches: sizes that transformers' generate is tried with.
        prompts: of the corpus; then its neurons, and pairs and ablations the plain way.
    """

    items: int = 60
    steered: int = 12
    few: int = 1
    samples: int = 100
    tokens: int = 32
    batches: tuple[int, ...] = (25, 50, 100)
    prompts: int = 100
    neurons: int = 100
    pairs: int = 12
    ablations: int = 20


SHORT = Sizes(6, 2, 1, 4, 4, (2, 4), 12, 4, 3, 4)


@dataclass(frozen=True)
class Comparison:
    """Two ways to the same.

    Attributes:
        what, unit: in words.
        against: what the other way is.
        ours, theirs: each gives what it found, and the units of work that this was; theirs also
            the seconds that it took, where another process knows them.
        same: of both results, two arrays that must be near each other; None of random numbers.
        allowed: their largest difference, relative to the largest value.
    """

    what: str
    unit: str
    against: str
    ours: Callable[[], tuple[Any, float]]
    theirs: Callable[[], tuple[Any, float] | tuple[Any, float, float]]
    same: Callable[[Any, Any], tuple[Any, Any]] | None
    allowed: float = 1e-3


def steering(lm: Any, module: Any, folder: Path, sizes: Sizes) -> Iterator[Comparison]:
    """Activations, vectors and sweep."""
    for contrast in ("answers", "letters"):
        items = items_of(lm, contrast, sizes.items)
        rows = [item.text + ids for item in items for ids in (item.matching, item.other)]
        yield Comparison(
            f"activations, {contrast}",
            "item",
            "transformers' batched forward",
            lambda items=items: (read_activations(lm, items, BUDGET), len(items)),
            lambda rows=rows: (batched_forward(lm, module, rows), len(rows) / 2),
            partial(_same_tokens, lm, module, items),
        )
        for peer in ("steering-vectors", "transformer-lens"):
            yield from vectors(lm, folder, peer, contrast, items)
        found = read_activations(lm, items, BUDGET)
        vector = {"v": mean_difference(found["matching"], found["other"])}
        conditions = [
            Condition((layer,), "v", multiplier)
            for layer in range(lm.n_layers)
            for multiplier in (-1.0, 1.0)
        ]
        few, some = items[: sizes.few], items[: sizes.steered]
        yield Comparison(
            f"sweep, {contrast}, {len(conditions)} conditions",
            "item",
            "plain full passes",
            lambda some=some, v=vector, c=conditions: (
                score(lm, some, v, c, budget=BUDGET),
                len(some),
            ),
            lambda few=few, v=vector, c=conditions: (plain.scores(lm, few, v, c), len(few)),
            _same_scores,
        )


def _same_scores(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """The scores of those items that both sides have."""
    n = len(theirs[0])
    one, other = ([part[:n].ravel() for part in scores] for scores in (ours, theirs))
    return np.concatenate(one), np.concatenate(other)


def items_of(lm: Any, contrast: str, n: int) -> list[Choice]:
    """The first items of a behaviour as token ids."""
    items = read_items(ROOT / "data/behaviors/optimism.jsonl")[:n]
    options = {"behavior": "optimism", "split": "test", "system": None, "seed": 1}
    prompts = serialize(lm.tokenizer, items, contrast=contrast, context=lm.context, **options)
    return choices(as_rows(prompts))


def batched_forward(lm: Any, module: Any, rows: list[list[int]]) -> None:
    """transformers' own batched forward pass over every row, logits included."""
    # of like length together, each batch as wide as its longest
    order = sorted(rows, key=len)
    while order:
        size = max(1, BUDGET // len(order[min(len(order), BUDGET // len(order[0])) - 1]))
        batch, order = order[:size], order[size:]
        ids, mask = padded(batch, lm, len(batch[-1]))
        module(input_ids=ids, attention_mask=mask)


def _same_tokens(lm: Any, module: Any, items: list[Choice], ours: Any, _: Any) -> tuple[Any, Any]:
    """The first item's activations, beside those of one plain pass."""
    item = items[0]
    ids = torch.tensor([item.text + item.matching])
    hidden = module(input_ids=ids, output_hidden_states=True).hidden_states
    # the last of these is behind the final norm
    theirs = torch.stack(hidden[1:-1])[:, 0, len(item.text) :].mean(1)
    return ours["matching"][0][: len(theirs)], theirs.numpy()


def vectors(
    lm: Any, folder: Path, peer: str, contrast: str, items: list[Choice]
) -> Iterator[Comparison]:
    """Vectors by a peer, in an environment of its own; nothing where it is not there."""
    python = python_of(peer)
    if not python.exists():
        print(f"{peer}: skipped, it has no environment here; `make peers` makes it", flush=True)
        return
    worker = Path(__file__).parent / "peers/worker.py"
    sides = [[item.text + getattr(item, side) for item in items] for side in ("matching", "other")]
    with tempfile.TemporaryDirectory() as work, (Path(work) / "log").open("w") as log:
        process = subprocess.Popen(
            [str(python), str(worker), peer, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdin
        assert process.stdout

        def theirs() -> tuple[Any, float, float]:
            path = f"{work}/found.npy"
            asked = {"matching": sides[0], "other": sides[1], "to": path}
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asked) + "\n")
                process.stdin.flush()
            if not (said := process.stdout.readline()):
                raise RuntimeError((Path(work) / "log").read_text()[-2000:])
            return np.load(path), len(items), json.loads(said)

        def ours() -> tuple[Any, float]:
            found = read_activations(lm, items, BUDGET)
            return mean_difference(found["matching"], found["other"]), len(items)

        def same(_: Any, found: Any) -> tuple[Any, Any]:
            # the peer reads a row's last token; ours the mean of what follows the prompt
            last = [
                [Choice(str(n), row[:-1], row[-1:], row[-1:]) for n, row in enumerate(rows)]
                for rows in sides
            ]
            both = [read_activations(lm, rows, BUDGET)["matching"] for rows in last]
            return mean_difference(*both), found

        try:
            yield Comparison(
                f"vectors, {contrast}", "item", f"{peer}, batches of 8", ours, theirs, same, 1e-4
            )
        finally:
            process.terminate()
            process.wait()


def sampling(lm: Any, module: Any, sizes: Sizes) -> Iterator[Comparison]:
    """Completions, greedy and sampled, beside transformers' generate."""
    (prompt, *more) = [item.text for item in items_of(lm, "answers", 5)]
    decoding = Decoding(sizes.tokens, 1.0, 0.95, BUDGET)
    common = {"max_new_tokens": sizes.tokens, "pad_token_id": lm.pad}

    def generated(ids: list[int], rows: int, **how: Any) -> list[list[int]]:
        given = torch.tensor([ids]).repeat(rows, 1)
        made = module.generate(given, attention_mask=torch.ones_like(given), **common, **how)
        return [_until_the_end(lm, row[len(ids) :].tolist()) for row in made]

    def ours(requests: list[Request]) -> tuple[Any, float]:
        made = sample_sequences(lm, requests, {}, decoding)
        return made, sum(map(len, made))

    def greedy() -> tuple[Any, float]:
        made = [generated(ids, 1, do_sample=False)[0] for ids in (prompt, *more)]
        return made, sum(map(len, made))

    yield Comparison(
        f"{1 + len(more)} greedy completions",
        "token",
        "transformers' generate, one by one",
        lambda: ours([Request(ids, None, None) for ids in (prompt, *more)]),
        greedy,
        lambda one, other: (_ragged(one), _ragged(other)),
        0.0,
    )
    how = {"do_sample": True, "temperature": 1.0, "top_p": 0.95, "top_k": 0}

    def sampled(batch: int) -> tuple[Any, float]:
        made = []
        for begin in range(0, sizes.samples, batch):
            made += generated(prompt, min(batch, sizes.samples - begin), **how)
        return made, sum(map(len, made))

    def speed(batch: int) -> float:
        start = time.process_time()
        return sampled(batch)[1] / (time.process_time() - start)

    best = max(sizes.batches, key=speed)
    yield Comparison(
        f"{sizes.samples} sampled completions of a prompt",
        "token",
        f"transformers' generate, batches of {best} (its best)",
        lambda: ours([Request(prompt, None, ("bench", k)) for k in range(sizes.samples)]),
        lambda: sampled(best),
        None,
    )


def _until_the_end(lm: Any, ids: list[int]) -> list[int]:
    ends = [place for place, token in enumerate(ids) if token in lm.ends]
    return ids[: ends[0] + 1] if ends else ids


def _ragged(rows: list[list[int]]) -> list[int]:
    return [token for row in rows for token in (*row, -1)]


def lookups(lm: Any, sizes: Sizes) -> Iterator[Comparison]:
    """The lookups' stages, each on what the one before has found."""
    layers = range(lm.n_layers - min(3, lm.n_layers), lm.n_layers)
    prompts = corpus(lm, sizes.prompts)
    generator = stream(1, "benchmark neurons")
    written = [neurons_out(lm, layer).float() for layer in layers]
    every = [(layer, neuron) for layer in layers for neuron in range(len(written[0]))]
    few = [every[number] for number in spaced(len(every), sizes.neurons)]
    yield Comparison(
        "neurons: congruence with every token",
        "neuron",
        "one at a time",
        lambda: (best_congruence(written, read_directions(lm), range(len(written))), len(every)),
        lambda: ([plain_lookups.best_token(lm, *one) for one in few], len(few)),
        lambda ours, theirs: (
            [ours.congruence[layer - layers[0]][neuron] for layer, neuron in few],
            [congruence for _, congruence in theirs],
        ),
    )
    neurons = {
        layer: sorted(generator.choice(len(written[0]), size=5, replace=False).tolist())
        for layer in layers
    }

    def most_active() -> Any:
        return top_activations(lm, neurons, prompts, k=TOP, bos=True, budget=BUDGET)

    yield Comparison(
        f"top activations of {sum(map(len, neurons.values()))} neurons",
        "prompt",
        "one at a time",
        lambda: (most_active(), len(prompts)),
        lambda: (plain_lookups.top(lm, neurons, prompts, TOP, True), len(prompts)),
        lambda ours, theirs: (ours.activation, [[a for a, _, _ in rows] for _, _, rows in theirs]),
    )
    top = most_active()
    names = [(layer, neuron) for layer in layers for neuron in neurons[layer]]
    pairs = [
        Firing(*name, prompts[prompt][: position + 1], float(activation))
        for name, *row in zip(names, top.prompt, top.position, top.activation, strict=True)
        for prompt, position, activation in zip(*row, strict=True)
        if activation > 0
    ]
    yield from of_pairs(lm, pairs, layers, sizes, generator)


def of_pairs(
    lm: Any, pairs: list[Firing], layers: range, sizes: Sizes, generator: Any
) -> Iterator[Comparison]:
    """Truncation, attribution and ablation of neurons on the prompts that they are active on."""
    chosen = spaced(len(pairs), sizes.pairs)
    shortest = partial(shortest_lengths, longest=100)

    def cut() -> Any:
        return truncate(lm, pairs, shortest, ratio=0.8, bos=True, budget=BUDGET)

    def shares(lengths: Any, activations: Any, of: Any = slice(None)) -> Any:
        """What is kept of the prompts' lengths and activations."""
        whole = np.array([(len(pair.ids), pair.activation) for pair in pairs])[of]
        return np.column_stack([lengths, activations]) / whole

    def plainly(way: Callable[..., Any], of: list[Firing], *more: Any) -> tuple[Any, float]:
        some = [of[number] for number in chosen]
        return [way(lm, one.layer, one.neuron, one.ids, *more) for one in some], len(some)

    yield Comparison(
        "truncation",
        "neuron and prompt",
        "one at a time",
        lambda: (cut(), len(pairs)),
        lambda: plainly(plain_lookups.shortest, pairs, 0.8, True),
        lambda ours, theirs: (shares(*ours)[chosen], shares(*np.array(theirs).T, chosen)),
    )
    short = [replace(pair, ids=pair.ids[-n:]) for pair, n in zip(pairs, cut()[0], strict=True)]

    def attribute() -> Any:
        found = []
        for layer in layers:
            mine = [pair for pair in short if pair.layer == layer]
            rows, numbers = [pair.ids for pair in mine], [pair.neuron for pair in mine]
            found += list(head_attribution(lm, layer, numbers, rows, bos=True, budget=BUDGET)[0])
        return found, len(short)

    yield Comparison(
        "head attribution",
        "neuron and prompt",
        "one at a time",
        attribute,
        lambda: plainly(plain_lookups.attribution, short, True),
        lambda ours, theirs: (
            np.concatenate([ours[number].ravel() for number in chosen]),
            np.concatenate([table.ravel() for table in theirs]),
        ),
    )
    heads = head_count(lm)
    # two heads a neuron and prompt, as in the default study
    ablations = [
        Ablation(
            (lm.tokenizer.bos_token_id, *pair.ids),
            "heads",
            int(generator.integers(pair.layer + 1)),
            int(generator.integers(heads)),
            int(generator.integers(len(lm.tokenizer))),
        )
        for pair in short
        for _ in range(2)
    ]
    some = spaced(len(ablations), sizes.ablations)
    yield Comparison(
        "head ablation",
        "head, neuron and prompt",
        "one at a time",
        lambda: (ablate(lm, ablations, budget=BUDGET), len(ablations)),
        lambda: ([plain_lookups.ablation(lm, ablations[n], heads) for n in some], len(some)),
        lambda ours, theirs: (
            np.stack([ours.logprob[some], ours.ablated_logprob[some], ours.activation[some]]),
            np.array(theirs).T,
        ),
    )


def corpus(lm: Any, n: int, tokens: int = 64) -> list[list[int]]:
    """Prompts as the default study makes them; of a few, from what comes first."""
    raw = list(stdlib_texts() if n >= 100 else itertools.islice(stdlib_texts(), 50 * n))
    order = stream(1, "benchmark", len(raw)).permutation(len(raw))
    texts = [raw[number].text for number in order[:n]]
    return [lm.tokenizer(text, add_special_tokens=False).input_ids[:tokens] for text in texts]


def spaced(n: int, k: int) -> list[int]:
    """k of the numbers below n, evenly spaced."""
    found: list[int] = np.linspace(0, n - 1, min(n, k)).astype(int).tolist()
    return found
