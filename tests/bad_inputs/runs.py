"""Models and prompts whose numbers would mean nothing: too long, or beyond what a number holds."""

import json
from pathlib import Path
from shutil import copytree

import numpy as np

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, sample_sequences
from steerpaper.engine.proof import load
from steerpaper.engine.score import score, score_completions
from steerpaper.engine.text import Choice
from steerpaper.judges.local import LocalJudge
from steerpaper.steering.activations import read_activations

TEA = Choice("tea-1", [5, 6, 7], [8, 9], [10])


def _changed(folder: Path, model: Path, **keys) -> Path:
    """A copy of the model whose config.json says something else."""
    copytree(model, folder / "copy", dirs_exist_ok=True)
    path = folder / "copy/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    return folder / "copy"


def _load(path, dtype="float32"):
    return load(path, device="cpu", dtype=dtype, threads=1, name="tiny")


def _sampled(length, condition=None, vectors=None, **keys):
    def case(folder, model):
        lm = _load(_changed(folder, model, **keys))
        request = Request([5] * length, condition, None, "tea-open-1")
        key = "steering.completions.max_new_tokens"
        sample_sequences(lm, [request], vectors or {}, Decoding(32, 1.0, 1.0, 1024, key))

    return case


def _scored(multiplier, dtype):
    def case(folder, model):
        lm = _load(model, dtype)
        vectors = {"behavior": np.full((lm.n_layers, lm.width), 100.0)}
        wanted = [Condition((1,), "behavior", multiplier)]
        score(lm, [TEA], vectors, wanted, budget=256)

    return case


def _long_completion(folder, model):
    one = [(0, [7] * 300)]
    list(score_completions(_load(model), [[5, 6]], one, {}, [], budget=512, names=["tea-1"]))


def _long_question(folder, model):
    judge = LocalJudge(_load(model), max_new_tokens=40, budget=512, section="lookups.explanations")
    judge.write(["Tea? " * 99])


def _activations(folder, model):
    lm = _load(model)
    lm.nn._module.model.layers[2].mlp.down_proj.weight.fill_(3e38)
    read_activations(lm, [TEA], 256)


CASES = {
    "a prompt that leaves a completion no room in the context": _sampled(250),
    "a fixed completion longer than the context": _long_completion,
    "a question to the local judge longer than the context": _long_question,
    "a multiplier that is too large for float16": _scored(1000.0, "float16"),
    "a steered completion that is too large for any number": _sampled(
        3, Condition((1,), "behavior", 1e30), {"behavior": np.full((9, 32), 1e30)}
    ),
    "a model whose activations are no numbers": _activations,
}
