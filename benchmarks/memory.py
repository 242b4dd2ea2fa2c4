"""Does memory grow with the number of prompts? `python benchmarks/memory.py [PROMPTS]`.

What the steering study runs the model with runs in a process of its own on PROMPTS prompts (58 by
default), then on ten times as many, of all behaviours' items. Prints the largest memory (RSS) of
both, and by how much it grew. It needs the default study's model. (Lookups: `corpus_scale.py`.)
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STAGES = ("activations", "gradients", "scores", "samples")
MODEL = ROOT / "results/models/smollm2-135m-instruct"
BUDGET, LAYER = 1024, 25


def run(stage: str, prompts: int) -> None:
    """One stage, and the largest memory that it took, in MB, on the last line."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import numpy as np

    from steerpaper.engine.condition import Condition
    from steerpaper.engine.generate import Decoding, Request, sample_sequences
    from steerpaper.engine.gradients import item_gradients
    from steerpaper.engine.proof import load
    from steerpaper.engine.score import score
    from steerpaper.engine.text import choices
    from steerpaper.seeds import stream
    from steerpaper.steering.activations import read_activations
    from steerpaper.steering.items import read_items
    from steerpaper.steering.prompts import as_rows, serialize
    from steerpaper.workflow import counts, heap

    # as a job has it
    heap.keep_freed()
    lm = load(MODEL, device="cpu", dtype="float32", threads=1)
    paths = sorted((ROOT / "data/behaviors").glob("*.jsonl"))
    items = [item for path in paths for item in read_items(path)]
    assert len(items) >= prompts, f"there are {len(items)} items"
    # few are as long as many
    order = stream(1, "memory").permutation(len(items))[:prompts]
    items = [items[number] for number in order]
    options = {"behavior": "any", "split": "test", "system": None, "seed": 1}
    rows = serialize(lm.tokenizer, items, contrast="answers", context=lm.context, **options)
    pairs = choices(as_rows(rows))
    vectors = {"v": np.ones((lm.n_layers, lm.width), np.float32)}
    if stage == "activations":
        read_activations(lm, pairs, BUDGET)
    elif stage == "gradients":
        item_gradients(lm, pairs, "response", BUDGET)
    elif stage == "scores":
        conditions = [Condition((LAYER,), "v", multiplier) for multiplier in (-1.0, 1.0)]
        score(lm, pairs, vectors, conditions, budget=BUDGET)
    else:
        # several a prompt, as a study has
        requests = [Request(pair.text, None, (1, pair.id, n)) for pair in pairs for n in range(4)]
        sample_sequences(lm, requests, vectors, Decoding(4, 1.0, 1.0, BUDGET))
    print(counts.peak_memory())


def main() -> None:
    """A line a stage."""
    few = int(sys.argv[1]) if sys.argv[1:] else 58
    print(f"{'stage':14}{few:>8} prompts{10 * few:>8} prompts")
    for stage in STAGES:
        found = []
        for prompts in (few, 10 * few):
            command = [sys.executable, __file__, stage, str(prompts)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append(float(said.splitlines()[-1]))
        small, large = found
        print(f"{stage:14}{small:>13.0f} MB{large:>13.0f} MB{large / small:>8.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in STAGES:
        run(sys.argv[1], int(sys.argv[2]))
    else:
        main()
