"""Gradients equal plain automatic differentiation, and the slopes that scoring measures."""

import numpy as np
import pytest
import torch
from test_equality import make_pairs, make_vectors

from steerpaper.engine.condition import Condition
from steerpaper.engine.gradients import gradients, item_gradients
from steerpaper.engine.score import score

POSITIONS = ["response", "last", "all"]


def plain_gradient(lm, prompt, completion, positions):
    """Gradient [L, d] of one completion's log-probability: one row, no cache, hooks."""
    added = [torch.zeros(lm.width, requires_grad=True) for _ in lm.blocks]
    ids = [*prompt, *completion]
    last = len(prompt) - 1
    where = {
        "all": torch.ones(len(ids), 1),
        "last": torch.eye(len(ids))[last][:, None],
        "response": (torch.arange(len(ids)) >= last).float()[:, None],
    }[positions]
    handles = [
        block._module.register_forward_hook(
            lambda module, inputs, output, vector=vector: output + where * vector
        )
        for block, vector in zip(lm.blocks, added, strict=True)
    ]
    try:
        with torch.enable_grad():
            logits = lm.nn._module(input_ids=torch.tensor([ids])).logits[0]
            logprobs = logits[last:-1].log_softmax(-1)
            total = logprobs[torch.arange(len(completion)), torch.tensor(completion)].sum()
            found = torch.autograd.grad(total, added)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found).numpy()


@pytest.mark.parametrize("contrast", ["answers", "letters"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_gradients_equal_plain_differentiation(lm, contrast, positions):
    pairs = make_pairs(lm, contrast, 4)
    ours = item_gradients(lm, pairs, positions=positions, budget=512)
    for pair, found in zip(pairs, ours, strict=True):
        matching, other = (
            plain_gradient(lm, pair.text, side, positions) for side in (pair.matching, pair.other)
        )
        size = np.abs(matching - other).max()
        assert size > 0
        np.testing.assert_allclose(found, matching - other, atol=2e-4 * size)


@pytest.mark.parametrize("positions", POSITIONS)
def test_gradients_are_the_slopes_that_scoring_measures(lm, positions):
    pairs, vectors = make_pairs(lm, "answers", 3), make_vectors(lm)
    direction = vectors["random-0"].astype(np.float64)
    first_order = np.einsum(
        "nld,ld->nl", item_gradients(lm, pairs, positions=positions, budget=512), direction
    )
    small = 1e-2
    wanted = [
        Condition((layer,), "random-0", sign * small, positions=positions)
        for layer in range(lm.n_layers)
        for sign in (-1, 1)
    ]
    _, scores = score(lm, pairs, vectors, wanted, budget=512)
    difference = (scores[..., 0] - scores[..., 1]).reshape(len(pairs), lm.n_layers, 2)
    measured = (difference[..., 1] - difference[..., 0]) / (2 * small)
    np.testing.assert_allclose(measured, first_order, atol=0.02 * np.abs(first_order).max())


def test_gradients_do_not_depend_on_the_budget(lm):
    pairs = make_pairs(lm, "answers", 7)
    few, many = (
        item_gradients(lm, pairs, positions="response", budget=budget) for budget in (64, 4096)
    )
    np.testing.assert_array_equal(few, many)


def test_a_group_is_the_weighted_sum_of_its_completions(lm):
    pair = make_pairs(lm, "answers", 1)[0]
    completions = [(0, pair.matching), (0, pair.other), (0, pair.other[:1])]
    options = {"positions": "response", "budget": 512}
    alone = gradients(lm, [pair.text], completions, [1, 1, 1], [0, 1, 2], **options)
    found = gradients(lm, [pair.text], completions, [2, -0.5, 3], [1, 0, 1], **options)
    np.testing.assert_allclose(found[0], -0.5 * alone[1])
    np.testing.assert_allclose(found[1], 2 * alone[0] + 3 * alone[2])
