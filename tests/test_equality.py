"""Every fast path gives what the plain way gives, for every architecture and any batching."""

import numpy as np
import plain
import pytest
import torch
from conftest import ROOT

from steerpaper.engine import score as score_module
from steerpaper.engine.batching import empty_prefix
from steerpaper.engine.condition import Condition
from steerpaper.engine.forward import forward
from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.engine.how import PLAIN
from steerpaper.engine.intervene import INTERVENTIONS
from steerpaper.engine.proof import load
from steerpaper.engine.score import score
from steerpaper.engine.text import choices
from steerpaper.steering.activations import read_activations
from steerpaper.steering.items import read_items
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.vectors import mean_difference, random_direction
from steerpaper.workflow.counts import counted

ITEMS = read_items(ROOT / "data/behaviors/impatience.jsonl")


def make_pairs(lm, contrast, n=7):
    prompts = serialize(
        lm.tokenizer,
        ITEMS[:n],
        behavior="impatience",
        contrast=contrast,
        split="train",
        system=None,
        seed=1,
        context=lm.context,
    )
    return choices(as_rows(prompts))


def make_vectors(lm):
    generator = np.random.default_rng(0)
    vector = generator.standard_normal((lm.n_layers, lm.width)).astype(np.float32)
    return {"mean_difference": vector, "random-0": random_direction(vector, 1, "x", 0)}


def make_conditions(positions="response", intervention="add"):
    how = {"positions": positions, "intervention": intervention}
    return [
        Condition((0,), "mean_difference", 1.0, **how),
        Condition((1,), "mean_difference", -2.0, **how),
        Condition((1,), "random-0", 0.5, **how),
        Condition((3,), "mean_difference", 1.5, **how),
        Condition((0, 2), "mean_difference", 0.7, **how),
    ]


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_activations_equal_plain_forward_passes(lm, contrast):
    pairs = make_pairs(lm, contrast)
    fast, slow = read_activations(lm, pairs, 512), plain.activations(lm, pairs)
    assert set(fast) == set(slow)
    for name, theirs in slow.items():
        assert np.abs(theirs).max() > 0.1
        ours = fast[name]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
    ours, theirs = (mean_difference(both["matching"], both["other"]) for both in (fast, slow))
    assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_the_norm_of_the_tokens_is_not_that_of_their_mean(lm):
    found = read_activations(lm, make_pairs(lm, "answers"), 512)
    letters = read_activations(lm, make_pairs(lm, "letters"), 512)
    for side in ("matching", "other"):
        of_means = np.linalg.norm(found[side], axis=-1)
        assert (of_means < 0.99 * found[f"{side}_norms"]).all()
        # of one token they are the same
        of_letters = np.linalg.norm(letters[side], axis=-1)
        np.testing.assert_allclose(of_letters, letters[f"{side}_norms"], rtol=1e-5)


@pytest.mark.parametrize("contrast", ["answers", "letters"])
@pytest.mark.parametrize("positions", ["response", "turn", "last", "all"])
@pytest.mark.parametrize("intervention", INTERVENTIONS)
def test_scores_equal_plain_forward_passes(lm, contrast, positions, intervention):
    pairs, vectors = make_pairs(lm, contrast, 4), make_vectors(lm)
    conditions = make_conditions(positions, intervention)
    ours = score(lm, pairs, vectors, conditions, budget=512)
    theirs = plain.scores(lm, pairs, vectors, conditions)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-3)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-3)
    # and steering did something at every block
    assert (np.abs(theirs[1] - theirs[0][:, None]).max(axis=(0, 2)) > 0.05).all()


@pytest.mark.parametrize("kinds", [("response", "turn", "last"), ("response", "last", "all")])
def test_conditions_of_different_positions_are_scored_together(lm, kinds):
    pairs, vectors = make_pairs(lm, "letters", 3), make_vectors(lm)
    conditions = [make_conditions(positions)[1] for positions in kinds]
    ours = score(lm, pairs, vectors, conditions, budget=512)
    theirs = plain.scores(lm, pairs, vectors, conditions)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-3)


def test_turn_steers_a_prefilled_bracket_and_response_does_not(lm):
    vectors = make_vectors(lm)
    turn, response = (make_conditions(positions) for positions in ("turn", "response"))
    for contrast, prefilled in (("letters", 1), ("answers", 0)):
        pairs = make_pairs(lm, contrast, 3)
        assert [pair.prefilled for pair in pairs] == [prefilled] * 3
        both = [score(lm, pairs, vectors, wanted, budget=512)[1] for wanted in (turn, response)]
        apart = np.abs(both[0] - both[1]).max(axis=(0, 2))
        # after the last block no token sees another any more
        sees = np.array([one.layers[0] < lm.n_layers - 1 for one in turn])
        assert (apart[sees] > 1e-3).all() if prefilled else not apart.any()
        assert (apart[~sees] < 1e-4).all()


@pytest.mark.parametrize(
    ("contrast", "positions"), [("answers", "response"), ("letters", "turn"), ("answers", "all")]
)
def test_scores_and_activations_are_the_same_to_the_bit_in_any_batch(lm, contrast, positions):
    # each row alone is slow, and in no batch
    pairs, vectors = make_pairs(lm, contrast, 3 if lm.how == PLAIN else 10), make_vectors(lm)
    conditions = make_conditions(positions)
    found = []
    for budget in (1, 80, 8000):
        scores = score(lm, pairs, vectors, conditions, budget=budget)
        found.append([*read_activations(lm, pairs, budget).values(), *scores])
    order = np.random.default_rng(1).permutation(len(pairs))
    mixed = [pairs[place] for place in order]
    back = np.argsort(order)
    parts = [*read_activations(lm, mixed, 800).values()]
    parts += score(lm, mixed, vectors, conditions, budget=800)
    found.append([part[back] for part in parts])
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_blocks_that_share_passes_have_the_bits_of_blocks_of_their_own(lm, contrast, monkeypatch):
    pairs, vectors = make_pairs(lm, contrast, 3), make_vectors(lm)
    conditions = [*make_conditions(), *make_conditions("last", list(INTERVENTIONS)[-1])]
    scores, passes = [], []
    # never, where it is worth it, always
    for shared in (0, score_module.SHARED, 100):
        monkeypatch.setattr(score_module, "SHARED", shared)
        before = counted(lm.name, lm.n_layers).passes
        scores.append(score(lm, pairs, vectors, conditions, budget=400))
        passes.append(counted(lm.name, lm.n_layers).passes - before)
    # where each row is run alone there is nothing to share
    assert passes[0] > passes[2] or lm.how == PLAIN
    assert passes[0] >= passes[1] >= passes[2]
    for other in scores[1:]:
        for one, another in zip(scores[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


def test_logits_of_the_last_columns_have_the_bits_of_those_of_all(lm):
    check_last_columns(lm)


def test_the_default_models_logits_of_the_last_columns_have_the_bits_of_those_of_all(default_model):
    check_last_columns(default_model)


def check_last_columns(lm):
    ids = torch.tensor(np.random.default_rng(0).integers(3, 600, (5, 12)))
    mask = torch.ones_like(ids)
    mask[:, 0] = 0
    few, every = (
        forward(
            lm,
            ids,
            mask,
            empty_prefix(lm, len(ids)).cache,
            logits=lambda x: x[:, -4:].float(),
            logits_of_last=columns,
        )[1]
        for columns in (4, 0)
    )
    assert torch.equal(few, every)


def test_scores_of_an_item_alone_are_nearly_the_same(lm):
    # what all prompts begin with is run by itself, and one prompt is all of that
    pairs, vectors = make_pairs(lm, "answers"), make_vectors(lm)
    together = score(lm, pairs, vectors, make_conditions(), budget=800)
    alone = [score(lm, [pair], vectors, make_conditions(), budget=800) for pair in pairs]
    for one, parts in zip(together, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(one, np.concatenate(parts), atol=2e-4)


@pytest.mark.parametrize(
    ("contrast", "positions"),
    [("answers", "response"), ("letters", "turn"), ("letters", "last"), ("answers", "all")],
)
@pytest.mark.parametrize("intervention", INTERVENTIONS)
def test_greedy_steered_completions_equal_full_forward_passes(
    lm, contrast, positions, intervention
):
    vectors = make_vectors(lm)
    requests = [
        Request(pair.text, condition, None, prefilled=pair.prefilled)
        for pair in make_pairs(lm, contrast, 3)
        for condition in (None, *make_conditions(positions, intervention))
    ]
    ours = complete(lm, requests, vectors, Decoding(6, 1.0, 1.0, 60))
    theirs = [plain.greedy(lm, r.prompt, r.condition, vectors, 6, r.prefilled) for r in requests]
    assert ours == theirs
    assert len({tuple(completion) for completion in ours}) > 3


@pytest.mark.parametrize("positions", ["response", "turn", "all"])
def test_samples_do_not_depend_on_the_batch(lm, positions):
    vectors = make_vectors(lm)
    requests = [
        Request(
            pair.text,
            make_conditions(positions)[1],
            (7, pair.id, sample),
            prefilled=pair.prefilled,
        )
        for pair in make_pairs(lm, "letters", 3)
        for sample in range(2)
    ]
    together = complete(lm, requests, vectors, Decoding(6, 0.9, 0.9, 10_000))
    small = complete(lm, requests[::-1], vectors, Decoding(6, 0.9, 0.9, 2))[::-1]
    alone = [complete(lm, [r], vectors, Decoding(6, 0.9, 0.9, 10_000))[0] for r in requests]
    assert together == small == alone
    assert len({tuple(completion) for completion in together}) == len(requests)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_the_cpu_gives(lm, model_folders, request):
    folder = model_folders[request.node.callspec.params["lm"].partition(" by ")[0]]
    on_gpu = load(folder, device="cuda", dtype="float32", threads=1)
    pairs, vectors = make_pairs(lm, "answers"), make_vectors(lm)
    for one, other in zip(
        (
            *read_activations(lm, pairs, 800).values(),
            *score(lm, pairs, vectors, make_conditions(), budget=800),
        ),
        (
            *read_activations(on_gpu, pairs, 800).values(),
            *score(on_gpu, pairs, vectors, make_conditions(), budget=800),
        ),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-3)
