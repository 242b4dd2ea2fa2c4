"""How fast is the lookups study, against the plain way? `python benchmarks/lookups.py [MODEL]`.

Both sides run in one process on one thread, in turn. Ratios are printed, since absolute times
depend on the machine, and what both sides found is compared.

The plain way stands in for the authors' code, which needs another version of transformers: one
neuron, prompt and head at a time, whole forward passes with hooks, logits included. It takes the
same steps in the same order (the same bisection, a clean and an ablated pass an ablation), but it
is not their code: theirs does top activations in batches, and reads more out of every pass.
"""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import plain_lookups as plain  # noqa: E402
import torch  # noqa: E402

from steerpaper.engine.proof import load  # noqa: E402
from steerpaper.engine.weights import head_count, neurons_out  # noqa: E402
from steerpaper.lookups.ablations import Ablation, ablate  # noqa: E402
from steerpaper.lookups.attribution import head_attribution  # noqa: E402
from steerpaper.lookups.neurons import best_congruence, read_directions  # noqa: E402
from steerpaper.lookups.raw import stdlib_texts  # noqa: E402
from steerpaper.lookups.top_activations import top_activations  # noqa: E402
from steerpaper.lookups.truncation import Firing, shortest_lengths, truncate  # noqa: E402
from steerpaper.seeds import stream  # noqa: E402

BUDGET = 1024
PROMPTS, TOKENS, TOP = 100, 64, 8
# what the plain way does of it, since it takes long: evenly spaced
NEURONS, PAIRS, ABLATIONS = 100, 12, 20


def timed(run):
    """A call's result and its wall time in seconds."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def spaced(n: int, k: int) -> list[int]:
    """k of the numbers below n, evenly spaced."""
    return np.linspace(0, n - 1, min(n, k)).astype(int).tolist()


def corpus(lm) -> list[list[int]]:
    """Prompts as the default study makes them."""
    raw = list(stdlib_texts())
    order = stream(1, "benchmark", len(raw)).permutation(len(raw))
    texts = [raw[number].text for number in order[:PROMPTS]]
    return [lm.tokenizer(text, add_special_tokens=False).input_ids[:TOKENS] for text in texts]


def main() -> None:
    """Print one line a stage: both times and their ratio."""
    folder = ROOT / "results/models/smollm2-135m-instruct"
    lm = load(sys.argv[1] if sys.argv[1:] else folder, device="cpu", dtype="float32", threads=1)
    torch.set_num_threads(1)
    layers = range(lm.n_layers - 3, lm.n_layers)
    prompts = corpus(lm)
    width = np.mean([len(ids) for ids in prompts])
    print(f"{lm.name}: {PROMPTS} prompts of {width:.0f} tokens on average, one thread")
    print("milliseconds an item; the largest difference between the two, relative to the largest\n")
    print(f"{'stage':44}{'plain':>10}{'ours':>10}{'ratio':>8}{'difference':>13}")

    def compare(stage, n, slow, n_slow, fast, same):
        (ours, fast_s), (theirs, slow_s) = timed(fast), timed(slow)
        fast_ms, slow_ms = fast_s / n * 1000, slow_s / n_slow * 1000
        one, other = (np.asarray(part, dtype=float) for part in same(ours, theirs))
        difference = np.abs(one - other).max() / np.abs(other).max()
        ratio = slow_ms / fast_ms
        print(
            f"{stage:44}{slow_ms:>10.3g}{fast_ms:>10.3g}{ratio:>8.1f}{difference:>13.0e}",
            flush=True,
        )
        assert difference < 1e-3, f"{stage}: the two ways differ"
        return ours

    top_activations(lm, {0: [0]}, prompts[:4], k=1, bos=True, budget=BUDGET)  # warm

    written = [neurons_out(lm, layer).float() for layer in layers]
    every = [(layer, neuron) for layer in layers for neuron in range(len(written[0]))]
    few = [every[number] for number in spaced(len(every), NEURONS)]
    compare(
        "neurons: congruence with every token (neuron)",
        len(every),
        lambda: [plain.best_token(lm, layer, neuron) for layer, neuron in few],
        len(few),
        lambda: best_congruence(written, read_directions(lm), range(len(written))),
        lambda ours, theirs: (
            [ours.congruence[layer - layers[0]][neuron] for layer, neuron in few],
            [congruence for _, congruence in theirs],
        ),
    )

    generator = stream(1, "benchmark neurons")
    neurons = {
        layer: sorted(generator.choice(len(written[0]), size=5, replace=False).tolist())
        for layer in layers
    }
    top = compare(
        f"top activations of {sum(map(len, neurons.values()))} neurons (prompt)",
        len(prompts),
        lambda: plain.top(lm, neurons, prompts, TOP, True),
        len(prompts),
        lambda: top_activations(lm, neurons, prompts, k=TOP, bos=True, budget=BUDGET),
        lambda ours, theirs: (
            ours.activation,
            [[activation for activation, _, _ in rows] for _, _, rows in theirs],
        ),
    )

    names = [(layer, neuron) for layer in layers for neuron in neurons[layer]]
    pairs = [
        Firing(*name, prompts[prompt][: position + 1], float(activation))
        for name, *row in zip(names, top.prompt, top.position, top.activation, strict=True)
        for prompt, position, activation in zip(*row, strict=True)
        if activation > 0
    ]
    chosen = spaced(len(pairs), PAIRS)

    shortest = partial(shortest_lengths, longest=100)

    def shares(lengths, activations, of=slice(None)):
        """What is kept of the prompts' lengths and activations."""
        whole = np.array([(len(pair.ids), pair.activation) for pair in pairs])[of]
        return np.column_stack([lengths, activations]) / whole

    lengths, _ = compare(
        "truncation (neuron and prompt)",
        len(pairs),
        lambda: [
            plain.shortest(lm, pair.layer, pair.neuron, pair.ids, 0.8, True)
            for pair in (pairs[number] for number in chosen)
        ],
        len(chosen),
        lambda: truncate(lm, pairs, shortest, ratio=0.8, bos=True, budget=BUDGET),
        lambda ours, theirs: (shares(*ours)[chosen], shares(*np.array(theirs).T, chosen)),
    )

    short = [replace(pair, ids=pair.ids[-n:]) for pair, n in zip(pairs, lengths, strict=True)]

    def attribute():
        found = []
        for layer in layers:
            mine = [pair for pair in short if pair.layer == layer]
            rows, numbers = [pair.ids for pair in mine], [pair.neuron for pair in mine]
            found += list(head_attribution(lm, layer, numbers, rows, bos=True, budget=BUDGET)[0])
        return found

    compare(
        "head attribution (neuron and prompt)",
        len(short),
        lambda: [
            plain.attribution(lm, pair.layer, pair.neuron, pair.ids, True)
            for pair in (short[number] for number in chosen)
        ],
        len(chosen),
        attribute,
        lambda ours, theirs: (
            np.concatenate([ours[number].ravel() for number in chosen]),
            np.concatenate([table.ravel() for table in theirs]),
        ),
    )

    # two heads a neuron and prompt, as in the default study
    heads = head_count(lm)
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
    some = spaced(len(ablations), ABLATIONS)
    compare(
        "head ablation (head, neuron and prompt)",
        len(ablations),
        lambda: [plain.ablation(lm, ablations[number], heads) for number in some],
        len(some),
        lambda: ablate(lm, ablations, budget=BUDGET),
        lambda ours, theirs: (
            np.stack([ours.logprob[some], ours.ablated_logprob[some], ours.activation[some]]),
            np.array(theirs).T,
        ),
    )


if __name__ == "__main__":
    main()
