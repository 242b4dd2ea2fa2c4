"""Heads and neurons are where the architecture says, can be read and edited, or are refused."""

import gc
import weakref
from dataclasses import replace

import plain
import pytest
import torch

from steerpaper.engine.batching import empty_prefix
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.identities import check_parts
from steerpaper.engine.norms import norm_of
from steerpaper.engine.weights import heads_out, is_parallel, neurons_out
from steerpaper.errors import UserError

KNOWN = ["llama", "gpt2", "gpt_neox", "mistral", "qwen2"]


@pytest.mark.parametrize("name", KNOWN)
def test_parts_are_where_the_architecture_says(load_tiny, name):
    check_parts(load_tiny(name))
    assert is_parallel(load_tiny(name)) == (name == "gpt_neox")


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_an_edit_inside_a_block_equals_a_plain_hook(load_tiny, name, site):
    lm = load_tiny(name)
    ids, layer, part = [5, 6, 7, 8], 2, slice(8, 16)
    path = getattr(lm.parts, {"heads": "heads_out", "neurons": "mlp_out"}[site])

    def hook(module, inputs):
        changed = inputs[0].clone()
        changed[..., part] = 0
        return (changed,)

    handle = lm.blocks[layer]._module.get_submodule(path).register_forward_pre_hook(hook)
    expected, _ = plain.forward(lm, ids)
    handle.remove()
    unedited, _ = plain.forward(lm, ids)

    def zero(x):
        x = x.clone()
        x[..., part] = 0
        return x

    row = torch.tensor([ids])
    _, logits = forward(
        lm,
        row,
        torch.ones_like(row),
        empty_prefix(lm, 1).cache,
        edits={(layer, site): zero},
        logits=lambda x: x.clone(),
    )
    torch.testing.assert_close(logits[0], expected, rtol=1e-4, atol=1e-4)
    assert (expected - unedited).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_heads_and_neurons_write_what_their_weights_say(load_tiny, name):
    lm = load_tiny(name)
    row = torch.tensor([[5, 6, 7]])
    got, _ = forward(
        lm,
        row,
        torch.ones_like(row),
        empty_prefix(lm, 1).cache,
        reads=dict.fromkeys(
            [(0, RESIDUAL), (1, "heads"), (1, "neurons"), (1, RESIDUAL)], lambda x: x.clone()
        ),
    )
    weight = heads_out(lm, 1)
    z = got[1, "heads"].unflatten(-1, weight.shape[:2])
    heads = torch.einsum("rthz,hzd->rtd", z, weight)
    written = heads + got[1, "neurons"] @ neurons_out(lm, 1)
    biases = got[1, RESIDUAL] - got[0, RESIDUAL] - written
    # what is left are the biases, the same at every token
    torch.testing.assert_close(biases, biases[:, :1].expand_as(biases), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("reads", [{}, {(1, "neurons"): torch.clone}, {(3, RESIDUAL): torch.clone}])
def test_a_pass_leaves_nothing_behind_for_the_garbage_collector(load_tiny, reads):
    # a job makes thousands of passes: their tensors must be free as soon as nobody wants them
    lm, row = load_tiny("llama"), torch.tensor([[5, 6, 7]])

    def look():
        mask = torch.ones_like(row)
        forward(lm, row, mask, empty_prefix(lm, 1).cache, reads=reads)
        return weakref.ref(mask)

    gc.disable()
    try:
        assert look()() is None
    finally:
        gc.enable()


FALSE = {
    "parallel": ({"parallel": True}, "in block 0 it does not hold that the block's output is"),
    "multiplier": ({"multiplier": 0.5}, "in block 0 it does not hold that the block's output is"),
    "norm": ({"mlp_norm": ""}, "in block 0 it does not hold that what goes into the neurons is"),
    "swapped": (
        {
            "mlp_in": "mlp.gate_proj",
            "mlp_gate": "mlp.up_proj",
            "order": ("heads", "mlp_norm", "mlp_in", "mlp_gate", "neurons"),
        },
        "in block 0 it does not hold that the neurons' activations follow",
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_parts_that_are_not_what_they_are_said_to_be_are_noticed(load_tiny, name):
    changes, message = FALSE[name]
    lm = load_tiny("llama")
    false = replace(lm.parts, **changes)
    with pytest.raises(UserError, match=message):
        check_parts(replace(lm, _shared={**lm._shared, "parts": false}))


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (2, "does not hold that its heads stand side by side"),
        (8, "of the 8 heads .* neighbors attend alike"),
        (5, "5 heads do not stand side by side in 32 numbers"),
    ],
)
def test_slices_that_are_no_heads_are_noticed(load_tiny, monkeypatch, heads, message):
    lm = load_tiny("gpt2")
    monkeypatch.setattr("steerpaper.engine.identities.head_count", lambda lm: heads)
    monkeypatch.setattr("steerpaper.engine.weights.head_count", lambda lm: heads)
    with pytest.raises(UserError, match=message):
        check_parts(lm)


def test_logits_that_are_not_read_of_the_final_norm_are_noticed(load_tiny):
    lm = load_tiny("llama")
    false = replace(lm, where=replace(lm.where, final_norm="model.layers.3.input_layernorm"))
    with torch.no_grad():
        lm.blocks[3]._module.input_layernorm.weight[:8] *= 2
    try:
        with pytest.raises(
            UserError, match=r"after the last block .* logits are read of the final"
        ):
            check_parts(false)
    finally:
        with torch.no_grad():
            lm.blocks[3]._module.input_layernorm.weight[:8] /= 2


class Shifted(torch.nn.Module):
    """No norm: what it subtracts is not the mean."""

    def forward(self, x):
        return torch.nn.functional.layer_norm(x - x[..., :1], x.shape[-1:]) + x


NORMS = {
    "layer norm": (torch.nn.LayerNorm(16, eps=1e-3), True, True),
    "without weights": (torch.nn.LayerNorm(16, elementwise_affine=False), True, False),
    "rms norm": (torch.nn.RMSNorm(16, eps=1e-6), False, True),
    "with the dtype's epsilon": (torch.nn.RMSNorm(16), False, True),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_is_linear_once_its_scale_is_known(name):
    module, centred, gained = NORMS[name]
    generator = torch.Generator().manual_seed(3)
    for weight in module.parameters():
        weight.data = torch.randn(16, generator=generator)
    norm = norm_of(module, 16, torch.float32, torch.device("cpu"))
    assert (norm.centred, norm.gain is not None) == (centred, gained)
    x, y, w = torch.randn(3, 5, 16, generator=generator)
    scale = norm.scale(x + y)[:, None]
    bias = 0 if norm.bias is None else norm.bias
    expected = module(x + y)
    torch.testing.assert_close(scale * (norm.passed(x) + norm.passed(y)) + bias, expected)
    read = (scale * (x + y) * norm.fold(w)).sum(-1)
    torch.testing.assert_close(read, ((expected - bias) * w).sum(-1))


def test_a_gain_that_is_one_more_than_the_weight_is_found():
    from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
    from transformers.models.nemotron.modeling_nemotron import NemotronLayerNorm1P

    for module in (Gemma2RMSNorm(16), NemotronLayerNorm1P(16)):
        module.weight.data = torch.linspace(-0.5, 0.5, 16)
        norm = norm_of(module, 16, torch.float32, torch.device("cpu"))
        torch.testing.assert_close(norm.gain, module.weight + 1)


@pytest.mark.parametrize("module", [torch.nn.Linear(16, 16), torch.nn.Dropout(), Shifted()])
def test_what_is_no_norm_is_none(module):
    assert norm_of(module.eval(), 16, torch.float32, torch.device("cpu")) is None
