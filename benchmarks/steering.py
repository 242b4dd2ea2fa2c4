"""How fast is the steering study, against the plain way? `python benchmarks/steering.py [MODEL]`.

Both sides run in one process on one thread, in turn, and ratios are printed: absolute times depend
on the machine. The plain way is one full forward pass per prompt, answer, block and multiplier.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import plain  # noqa: E402
import torch  # noqa: E402

from steerpaper.engine.batching import padded  # noqa: E402
from steerpaper.engine.condition import Condition  # noqa: E402
from steerpaper.engine.proof import load  # noqa: E402
from steerpaper.engine.score import score  # noqa: E402
from steerpaper.engine.text import choices  # noqa: E402
from steerpaper.steering.activations import read_activations  # noqa: E402
from steerpaper.steering.items import read_items  # noqa: E402
from steerpaper.steering.prompts import as_rows, serialize  # noqa: E402
from steerpaper.steering.vectors import mean_difference  # noqa: E402

BUDGET = 1024


def seconds(run) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def pairs_of(lm, contrast, n):
    """The first items of a behaviour as token ids."""
    items = read_items(ROOT / "data/behaviors/optimism.jsonl")[:n]
    options = {"behavior": "optimism", "split": "test", "system": None, "seed": 1}
    prompts = serialize(lm.tokenizer, items, contrast=contrast, context=lm.context, **options)
    return choices(as_rows(prompts))


def batched_forward(lm, rows):
    """transformers' own batched forward pass over every row, logits included."""
    module = lm.nn._module
    # of like length together, each batch as wide as its longest
    order = sorted(rows, key=len)
    while order:
        size = max(1, BUDGET // len(order[min(len(order), BUDGET // len(order[0])) - 1]))
        batch, order = order[:size], order[size:]
        ids, mask = padded(batch, lm.pad, len(batch[-1]))
        module(input_ids=ids, attention_mask=mask)


def main() -> None:
    """Print one line a comparison: both times and their ratio."""
    folder = ROOT / "results/models/smollm2-135m-instruct"
    lm = load(sys.argv[1] if sys.argv[1:] else folder, device="cpu", dtype="float32", threads=1)
    torch.set_num_threads(1)
    print(f"{lm.name}: {lm.n_layers} blocks, one thread; milliseconds an item\n")
    print(f"{'what':58}{'plain':>9}{'ours':>9}{'ratio':>8}")

    def compare(what, n, slow, fast, of_slow=1):
        fast()  # warm
        # milliseconds an item; the plain way may run on fewer items, since it takes long
        ours, theirs = seconds(fast) / n * 1000, seconds(slow) / n * of_slow * 1000
        print(f"{what:58}{theirs:>9.0f}{ours:>9.0f}{theirs / ours:>8.1f}", flush=True)

    for contrast in ("answers", "letters"):
        pairs = pairs_of(lm, contrast, 24)
        rows = [pair.text + answer for pair in pairs for answer in (pair.matching, pair.other)]
        compare(
            f"activations, {contrast}: transformers' batched forward",
            len(pairs),
            lambda rows=rows: batched_forward(lm, rows),
            lambda pairs=pairs: read_activations(lm, pairs, BUDGET),
        )
        found = read_activations(lm, pairs, BUDGET)
        vector = mean_difference(found["matching"], found["other"])
        few, some = pairs[:2], pairs[:12]
        conditions = [
            Condition((layer,), "v", multiplier)
            for layer in range(lm.n_layers)
            for multiplier in (-1.0, 1.0)
        ]
        compare(
            f"sweep, {contrast}: {len(conditions)} conditions, plain full passes",
            len(some),
            lambda few=few, c=conditions, v=vector: plain.scores(lm, few, {"v": v}, c),
            lambda some=some, c=conditions, v=vector: score(lm, some, {"v": v}, c, budget=BUDGET),
            len(some) / len(few),
        )


if __name__ == "__main__":
    main()
