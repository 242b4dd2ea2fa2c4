"""Every fast path gives what the plain way gives, for every architecture and any batching."""

import numpy as np
import plain
import pytest
from conftest import ROOT

from steerpaper.steering.activations import read_activations
from steerpaper.steering.completions import Request, complete
from steerpaper.steering.conditions import Condition
from steerpaper.steering.items import read_items
from steerpaper.steering.pairs import tokenize
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.score import score
from steerpaper.steering.vectors import mean_difference, random_direction


def make_pairs(lm, contrast, n=7):
    items = read_items(ROOT / "data/behaviors/impatience.jsonl")[:n]
    prompts = serialize(
        lm.tokenizer,
        items,
        behavior="impatience",
        contrast=contrast,
        split="train",
        system=None,
        seed=1,
        context=lm.context,
    )
    return tokenize(lm.tokenizer, as_rows(prompts))


def make_vectors(lm):
    generator = np.random.default_rng(0)
    vector = generator.standard_normal((lm.n_layers, lm.width)).astype(np.float32)
    return {"mean_difference": vector, "random-0": random_direction(vector, 1, "x", 0)}


CONDITIONS = [
    Condition((0,), "mean_difference", 1.0),
    Condition((1,), "mean_difference", -2.0),
    Condition((1,), "random-0", 0.5),
    Condition((3,), "mean_difference", 1.5),
    Condition((0, 2), "mean_difference", 0.7),
]


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_activations_equal_plain_forward_passes(lm, contrast):
    pairs = make_pairs(lm, contrast)
    fast, slow = read_activations(lm, pairs, 512), plain.activations(lm, pairs)
    for ours, theirs in zip(fast, slow, strict=True):
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    ours, theirs = mean_difference(*fast), mean_difference(*slow)
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


@pytest.mark.parametrize("contrast", ["answers", "letters"])
@pytest.mark.parametrize("positions", ["response", "last", "all"])
def test_scores_equal_plain_forward_passes(lm, contrast, positions):
    pairs, vectors = make_pairs(lm, contrast, 4), make_vectors(lm)
    ours = score(lm, pairs, vectors, CONDITIONS, positions=positions, budget=512)
    theirs = plain.scores(lm, pairs, vectors, CONDITIONS, positions)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-3)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-3)
    # and steering did something at every block
    assert (np.abs(theirs[1] - theirs[0][:, None]).max(axis=(0, 2)) > 0.05).all()


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_scores_and_activations_do_not_depend_on_the_batch(lm, contrast):
    pairs, vectors = make_pairs(lm, contrast), make_vectors(lm)
    found = []
    for budget in (80, 800, 8000):
        scores = score(lm, pairs, vectors, CONDITIONS, positions="response", budget=budget)
        found.append([*read_activations(lm, pairs, budget), *scores])
    alone = [
        [
            *read_activations(lm, [pair], 8000),
            *score(lm, [pair], vectors, CONDITIONS, positions="response", budget=8000),
        ]
        for pair in pairs
    ]
    found.append([np.concatenate(parts) for parts in zip(*alone, strict=True)])
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_allclose(one, another, atol=2e-4)


@pytest.mark.parametrize("positions", ["response", "last", "all"])
def test_greedy_steered_completions_equal_full_forward_passes(lm, positions):
    vector = make_vectors(lm)["mean_difference"]
    prompts = [pair.text for pair in make_pairs(lm, "answers", 3)]
    requests = [
        Request(prompt, layers, multiplier, None)
        for prompt in prompts
        for layers, multiplier in (((), 0.0), ((1,), 2.0), ((1,), -2.0), ((0, 3), 1.0))
    ]
    options = {"max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "budget": 60}
    ours = complete(lm, requests, vector, positions=positions, **options)
    theirs = [
        plain.greedy(lm, r.prompt, r.layers, vector, r.multiplier, positions, 8) for r in requests
    ]
    assert ours == theirs
    assert len({tuple(completion) for completion in ours}) > len(prompts)


def test_samples_do_not_depend_on_the_batch(lm):
    vector = make_vectors(lm)["mean_difference"]
    requests = [
        Request(pair.text, (2,), 1.0, (7, pair.id, sample))
        for pair in make_pairs(lm, "answers", 4)
        for sample in range(3)
    ]
    options = {"positions": "response", "max_new_tokens": 8, "temperature": 0.9, "top_p": 0.9}
    together = complete(lm, requests, vector, **options, budget=10_000)
    small = complete(lm, requests[::-1], vector, **options, budget=20)[::-1]
    alone = [complete(lm, [r], vector, **options, budget=10_000)[0] for r in requests]
    assert together == small == alone
    assert len({tuple(completion) for completion in together}) == len(requests)
