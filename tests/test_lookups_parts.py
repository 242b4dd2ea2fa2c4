"""Heads and neurons are where the architecture says, can be read and edited, or are refused."""

import gc
import weakref
from dataclasses import replace

import plain
import pytest
import torch
from tiny_models import LLAMA

from steerpaper.engine.batching import empty_prefix
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.weights import check_parts, heads_out, is_parallel, neurons_out
from steerpaper.errors import UserError

KNOWN = ["llama", "gpt2", "gpt_neox", "mistral", "qwen2"]


@pytest.mark.parametrize("name", KNOWN)
def test_parts_are_where_the_architecture_says(load_tiny, name):
    check_parts(load_tiny(name))
    assert is_parallel(load_tiny(name)) == (name == "gpt_neox")


def test_a_family_without_known_parts_is_refused_with_its_reason(load_tiny):
    with pytest.raises(UserError, match="norms after attention"):
        check_parts(load_tiny("gemma2"))


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


def other_families():
    import transformers as t

    small = {**LLAMA, "num_hidden_layers": 2}
    return {
        "gemma": t.GemmaConfig(**small, head_dim=8),
        "qwen3": t.Qwen3Config(**small, head_dim=8),
        "smollm3": t.SmolLM3Config(**small),
        "sequential gpt_neox": t.GPTNeoXConfig(
            **{key: value for key, value in small.items() if key != "num_key_value_heads"},
            use_parallel_residual=False,
        ),
    }


@pytest.mark.parametrize("name", ["gemma", "qwen3", "smollm3", "sequential gpt_neox"])
def test_parts_of_other_families_are_where_they_are_said_to_be(name, tmp_path, tokenizer_folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from steerpaper.engine.proof import load

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(other_families()[name])
    for parameter in model.parameters():  # so that gains differ from one
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(tmp_path)
    lm = load(tmp_path, device="cpu", dtype="float32", threads=1)
    check_parts(lm)
    assert not is_parallel(lm)


def test_parts_that_are_not_where_they_are_said_to_be_are_noticed(load_tiny):
    lm = load_tiny("llama")
    gained = replace(lm.parts, gain_offset=1.0)
    with pytest.raises(UserError, match="it does not hold that the neurons read the norm"):
        check_parts(replace(lm, where=replace(lm.where, parts=gained)))
