"""How far do short types move results? `python benchmarks/precision.py [MODEL [STUDY [THREADS]]]`.

Scores, slopes and samples of a finished study's behaviour, its prompts and its steering vectors,
against float32: with the model's own logits (as they were read before 0.2.0) and with those that
`engine/unembed.py` makes in float32; and between two token budgets. Run by hand; minutes on a CPU.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "scripts")]

import numpy as np  # noqa: E402

from steerpaper.engine.condition import Condition  # noqa: E402
from steerpaper.engine.generate import Decoding, Request, sample_sequences  # noqa: E402
from steerpaper.engine.proof import load  # noqa: E402
from steerpaper.engine.score import score  # noqa: E402
from steerpaper.engine.text import choices  # noqa: E402
from steerpaper.workflow.files import read_json, read_jsonl, read_tensors  # noqa: E402

BEHAVIOR, ITEMS, SAMPLES, TOKENS = "optimism", 12, 20, 32
MULTIPLIERS = np.array([-2.0, -1.0, 1.0, 2.0])
BUDGETS = (1024, 256)


def scores_of(lm, study, contrast, layers, budget):
    """Log p(matching) - log p(other) per item, block and multiplier (0 in the middle), nats."""
    prompts = read_jsonl(study / f"prompts/{BEHAVIOR}.{contrast}.test.jsonl")[:ITEMS]
    vectors, _ = read_tensors(study / f"vectors/{BEHAVIOR}.{contrast}.steering.safetensors")
    wanted = [Condition((layer,), "behavior", m) for layer in layers for m in MULTIPLIERS]
    unsteered, steered = score(lm, choices(prompts), vectors, wanted, budget=budget)
    found = (steered[..., 0] - steered[..., 1]).reshape(len(prompts), len(layers), -1)
    middle = np.repeat((unsteered[:, 0] - unsteered[:, 1])[:, None, None], len(layers), axis=1)
    return np.concatenate([found[..., :2], middle, found[..., 2:]], axis=-1)


def slopes_of(scores):
    """Least-squares slope of the score on the multiplier, per item and block."""
    m = np.insert(MULTIPLIERS, 2, 0.0)
    return scores @ m / (m @ m)


def samples_of(lm, study, layer, budget):
    """Samples of the first open question, half of them steered."""
    prompt = read_jsonl(study / f"prompts/{BEHAVIOR}.open.jsonl")[0]
    vectors, _ = read_tensors(study / f"vectors/{BEHAVIOR}.answers.steering.safetensors")
    steered = Condition((layer,), "behavior", 1.0)
    requests = [
        Request(prompt["ids"], steered if number % 2 else None, ("precision", number))
        for number in range(SAMPLES)
    ]
    return sample_sequences(lm, requests, vectors, Decoding(TOKENS, 1.0, 0.95, budget))


def measured(lm, study, layers, budget):
    """All results of a model at one budget."""
    found = {c: scores_of(lm, study, c, layers, budget) for c in ("answers", "letters")}
    return found, samples_of(lm, study, layers[0], budget)


def line(what, ours, theirs):
    """How far two results are from each other."""
    cells = []
    for contrast in ("answers", "letters"):
        moved = np.abs(ours[0][contrast] - theirs[0][contrast])
        slopes = slopes_of(ours[0][contrast]) - slopes_of(theirs[0][contrast])
        mean = np.abs(slopes.mean(axis=0)).max()
        cells += [f"{x:.2g}" for x in (moved.mean(), moved.max(), np.abs(slopes).max(), mean)]
    same = sum(a == b for a, b in zip(ours[1], theirs[1], strict=True))
    print(f"| {what} | {' | '.join(cells)} | {same} of {SAMPLES} |", flush=True)


def main() -> None:
    """Print one row a comparison."""
    folder = sys.argv[1] if sys.argv[1:] else ROOT / "results/models/smollm2-135m-instruct"
    study = Path(sys.argv[2] if sys.argv[2:] else ROOT / "results/default")
    chosen = read_json(study / f"steering/{BEHAVIOR}.answers.block.json")["layers"][0]
    threads = int(sys.argv[3]) if sys.argv[3:] else 1
    columns = ("score, mean", "score, max", "an item's slope, max", "mean slope, max")
    names = [f"{contrast}: {column}" for contrast in ("answers", "letters") for column in columns]
    print(f"| nats | {' | '.join(names)} | samples the same |\n|{'---|' * (len(names) + 2)}")
    reference = None
    for dtype in ("float32", "bfloat16", "float16"):
        lm = load(folder, device="cpu", dtype=dtype, threads=threads)
        layers = sorted({chosen, chosen // 2, lm.n_layers - 2}, key=lambda one: one != chosen)
        ways = ["model's logits", "float32 logits"] if lm.readout else ["model's logits"]
        readout = lm.readout
        for way in ways:
            # without a readout the pass reads the module's own logits
            lm.__dict__["readout"] = readout if way == "float32 logits" else None
            runs = [measured(lm, study, layers, budget) for budget in BUDGETS]
            reference = reference or runs[0]
            if dtype != "float32":
                line(f"{dtype}, {way}", runs[0], reference)
            line(f"{dtype}, {way}: budgets {BUDGETS[0]} and {BUDGETS[1]}", *runs)


if __name__ == "__main__":
    main()
