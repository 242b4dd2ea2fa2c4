"""What only GPUs show: the same numbers on one and several, offload from them, quantized weights.

Without a GPU all of it is skipped; tests/test_placing.py has what a CPU shows.
"""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from tiny_models import LLAMA, make_model

from steerpaper.engine.budget import budget_of
from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, sample_sequences
from steerpaper.engine.gradients import item_gradients
from steerpaper.engine.identities import check_parts
from steerpaper.engine.offloaded import weight_of
from steerpaper.engine.placing import own_gpus
from steerpaper.engine.proof import load
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice
from steerpaper.steering.activations import read_activations

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no two GPUs")
quantizing = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="no bitsandbytes")

ITEMS = [
    Choice("a", [1, 9, 8, 7, 6, 11, 12, 13], [21, 22, 23], [24, 25]),
    Choice("b", [1, 9, 8, 7, 6, 14], [26], [27]),
    Choice("c", [1, 9, *range(30, 50)], [28, 29], [24, 21, 20, 19]),
]
CONDITIONS = [
    *(Condition((layer,), "one", factor) for layer in range(4) for factor in (-1.0, 2.0)),
    Condition((0, 2, 3), "one", 1.0),
]
NAMES = ["llama", "gpt2", "gpt_neox", "mistral", "qwen2", "gemma2"]


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """Every test takes its GPUs anew: of one test's number the next may want another."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own_gpus.cache_clear()
    yield
    own_gpus.cache_clear()


def on_gpus(folder, gpus=1, dtype="float32", quantize=None, **offload):
    return load(
        folder,
        device="cuda",
        dtype=dtype,
        threads=1,
        quantize=quantize,
        placing={"gpus": gpus, **offload},
    )


def vectors_of(lm):
    values = np.random.default_rng(0).standard_normal((lm.n_layers, lm.width))
    return {"one": values}


def found(lm):
    """Scores, activations and gradients of a model, as arrays."""
    return [
        *score(lm, ITEMS, vectors_of(lm), CONDITIONS, budget=256),
        *read_activations(lm, ITEMS, 256).values(),
        item_gradients(lm, ITEMS, "response", 256),
    ]


def sampled(lm):
    requests = [
        Request(item.text, condition, stream)
        for item in ITEMS
        for condition in (None, CONDITIONS[5], CONDITIONS[8])
        for stream in (None, (1, item.id))
    ]
    return sample_sequences(lm, requests, vectors_of(lm), Decoding(8, 1.0, 0.95, 256))


def same(one, other):
    for mine, theirs in zip(found(one), found(other), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3)
    assert sampled(one) == sampled(other)


@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_what_the_cpu_gives(name, model_folders, load_tiny, locks):
    same(load_tiny(name), on_gpus(model_folders[name]))


@two
@pytest.mark.parametrize("name", NAMES)
def test_two_gpus_give_what_the_cpu_gives(name, model_folders, load_tiny, locks):
    lm = on_gpus(model_folders[name], gpus=2)
    assert {str(lm.device_of(layer)) for layer in range(4)} == {"cuda:0", "cuda:1"}
    same(load_tiny(name), lm)


@pytest.mark.parametrize("to", ["cpu", "disk"])
@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_what_waits_elsewhere_gives_what_the_cpu_gives(name, to, model_folders, load_tiny, locks):
    lm = on_gpus(model_folders[name], to=to, gpu_memory=3.5e-4)
    waiting = sum(weight.device.type == "meta" for weight in lm.nn._module.parameters())
    assert waiting
    same(load_tiny(name), lm)
    if name == "llama":
        check_parts(lm)


@quantizing
@pytest.mark.parametrize(("bits", "off"), [("8bit", 0.02), ("4bit", 0.25)])
def test_quantized_weights_are_smaller_and_near(bits, off, tmp_path, tokenizer_folder, locks):
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    # rows of whole blocks
    config = LlamaConfig(**LLAMA | {"hidden_size": 256, "intermediate_size": 512})
    config.initializer_range = 0.06
    LlamaForCausalLM(config).save_pretrained(tmp_path / "m")
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(tmp_path / "m")
    plain = load(tmp_path / "m", device="cpu", dtype="float32", threads=1)
    lm = on_gpus(tmp_path / "m", dtype="bfloat16", quantize=bits)
    assert lm.dtype == torch.bfloat16
    for layer in range(4):
        packed = lm.nn._module.model.layers[layer].mlp.up_proj
        assert packed.weight.nbytes <= 512 * 256
        exact = plain.nn._module.model.layers[layer].mlp.up_proj.weight
        read = weight_of(packed).cpu()
        assert read.dtype == torch.bfloat16
        assert (read - exact).abs().max() < off * exact.abs().max()
    check_parts(lm)
    ours, theirs = found(lm), found(plain)
    spread = np.abs(theirs[1] - theirs[0][:, None]).max()
    assert np.abs(ours[1] - theirs[1]).max() < 2 * off * max(1.0, spread)
    # the gradients' direction
    one, other = ours[-1].ravel(), theirs[-1].ravel()
    assert one @ other > (1 - 2 * off) * np.linalg.norm(one) * np.linalg.norm(other)


@two
@quantizing
def test_quantized_weights_lie_over_two_gpus(tmp_path, tokenizer_folder, locks):
    folder = make_model(tmp_path, "qwen2", tokenizer_folder)
    lm = on_gpus(folder, gpus=2, dtype="bfloat16", quantize="8bit")
    assert {str(lm.device_of(layer)) for layer in range(4)} == {"cuda:0", "cuda:1"}
    assert all(np.isfinite(one).all() for one in found(lm))


def test_as_many_tokens_as_there_is_room_for_give_the_same_scores(model_folders, locks):
    lm = on_gpus(model_folders["llama"])
    found = budget_of(lm, "auto")
    assert found >= 1024
    assert not found & (found - 1)
    few, many = (score(lm, ITEMS, {}, [], budget=tokens)[0] for tokens in (8, found))
    assert np.abs(few - many).max() < 1e-4


def test_products_in_tf32_are_coarser_and_only_where_asked_for(model_folders, locks):
    exact = score(on_gpus(model_folders["llama"]), ITEMS, {}, [], budget=64)[0]
    again = score(on_gpus(model_folders["llama"]), ITEMS, {}, [], budget=64)[0]
    assert np.array_equal(exact, again)
    load(model_folders["llama"], device="cuda", dtype="float32", threads=1, tf32=True)
    assert torch.backends.cuda.matmul.allow_tf32
