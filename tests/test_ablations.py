"""Ablations equal one hook on one prompt at a time; their statistics are scipy's."""

import numpy as np
import pandas as pd
import plain
import pytest
import torch
from scipy.stats import ks_2samp

from steerpaper.lookups.ablations import Ablation, ablate, ablation_test, other_prompts
from steerpaper.weights import head_count, neurons_out

PROMPTS = [(5, 6, 7, 8), (9, 10), (11, 12, 13, 14, 15, 16, 17), (18,), (19, 20, 21, 22, 5)]


def make_ablations(units):
    """Every prompt with units of several blocks, the first and last among them."""
    generator = np.random.default_rng(0)
    return [
        Ablation(prompt, layer, int(generator.integers(units)), int(generator.integers(600)))
        for prompt in PROMPTS
        for layer in (0, 2, 3, 2)
    ]


def plain_ablation(lm, ablation, site, units):
    """Log-probability without and with the unit, and what the unit wrote at the last token."""
    path = getattr(lm.where.parts, {"heads": "heads_out", "neurons": "mlp_out"}[site])
    seen = {}

    def zero(module, inputs):
        changed = inputs[0].clone()
        size = changed.shape[-1] // units
        own = slice(ablation.unit * size, (ablation.unit + 1) * size)
        seen["value"] = changed[0, -1, own].clone()
        changed[..., own] = 0
        return (changed,)

    clean, _ = plain.forward(lm, ablation.prompt)
    module = lm.blocks[ablation.layer]._module.get_submodule(path)
    handle = module.register_forward_pre_hook(zero)
    try:
        without, _ = plain.forward(lm, ablation.prompt)
    finally:
        handle.remove()
    logprobs = [x[-1].log_softmax(-1)[ablation.token].item() for x in (clean, without)]
    value = seen["value"]
    return *logprobs, (value[0] if len(value) == 1 else value.norm()).item()


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "mistral", "qwen2"])
@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_ablations_equal_one_hook_at_a_time(load_tiny, name, site):
    lm = load_tiny(name)
    units = head_count(lm) if site == "heads" else len(neurons_out(lm, 0))
    ablations = make_ablations(units)
    effects = ablate(lm, ablations, site=site, units=units, budget=20)
    expected = np.array([plain_ablation(lm, ablation, site, units) for ablation in ablations])
    got = np.column_stack([effects.logprob, effects.ablated_logprob, effects.activation])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 1e-3


@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_ablations_do_not_depend_on_the_batch(load_tiny, site):
    lm = load_tiny("llama")
    units = head_count(lm) if site == "heads" else len(neurons_out(lm, 0))
    ablations = make_ablations(units)
    one = ablate(lm, ablations, site=site, units=units, budget=1)
    other = ablate(lm, ablations[::-1], site=site, units=units, budget=10_000)
    for key in ("logprob", "ablated_logprob", "activation"):
        np.testing.assert_allclose(getattr(one, key), getattr(other, key)[::-1], atol=1e-4)
