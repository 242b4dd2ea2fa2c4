"""Gradients of scores: equal to plain autograd and to measured slopes, in any batch."""

import shutil
from importlib import import_module as script
from pathlib import Path

import numpy as np
import plain
import pytest
import torch
from test_equality import ITEMS
from tiny_models import name_model

from steerpaper.engine.condition import Condition
from steerpaper.engine.gradients import gradients, item_gradients
from steerpaper.engine.proof import load
from steerpaper.engine.score import score
from steerpaper.engine.text import choices
from steerpaper.engine.widths import LEAST
from steerpaper.errors import UserError
from steerpaper.steering.activations import read_activations
from steerpaper.steering.first_order import first_order_slopes
from steerpaper.steering.gradients import write_gradients
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.slopes import slopes
from steerpaper.steering.vectors import mean_difference
from steerpaper.workflow.files import read_jsonl, read_tensors, write_jsonl
from steerpaper.workflow.job import Job

POSITIONS = ["response", "turn", "last", "all"]


def make_rows(lm, contrast, n=5, split="dev"):
    """Rows of a prompt file."""
    prompts = serialize(
        lm.tokenizer,
        ITEMS[:n],
        behavior="impatience",
        contrast=contrast,
        split=split,
        system=None,
        seed=1,
        context=lm.context,
    )
    return as_rows(prompts)


def make_pairs(lm, contrast, n=5):
    return choices(make_rows(lm, contrast, n))


def plain_gradient(lm, text, continuation, positions, prefilled=0):
    """Of one completion's log-probability: [L, d], by autograd on one whole row, no cache."""
    deltas = [torch.zeros(lm.width, requires_grad=True) for _ in range(lm.n_layers)]
    length, start = len(text) + len(continuation), len(text) - 1
    where = torch.zeros(length, 1)
    steered = {"response": slice(start, None), "turn": slice(start - prefilled, None)}
    where[{**steered, "last": start, "all": slice(None)}[positions]] = 1

    def hook(layer):
        return lambda module, inputs, output: output + where * deltas[layer]

    handles = [
        block._module.register_forward_hook(hook(layer)) for layer, block in enumerate(lm.blocks)
    ]
    try:
        with torch.enable_grad():
            logits = lm.nn._module(input_ids=torch.tensor([[*text, *continuation]])).logits[0]
            logprobs = logits.double().log_softmax(dim=-1)
            total = sum(logprobs[start + k, token] for k, token in enumerate(continuation))
            found = torch.autograd.grad(total, deltas)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found).double().numpy()


def plain_item_gradients(lm, pairs, positions):
    return np.array(
        [
            plain_gradient(lm, pair.text, pair.matching, positions, pair.prefilled)
            - plain_gradient(lm, pair.text, pair.other, positions, pair.prefilled)
            for pair in pairs
        ]
    )


@pytest.mark.parametrize("contrast", ["answers", "letters"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_gradients_equal_plain_autograd_on_whole_rows(lm, contrast, positions):
    pairs = make_pairs(lm, contrast)
    ours = item_gradients(lm, pairs, positions, budget=512)
    theirs = plain_item_gradients(lm, pairs, positions)
    scale = np.abs(theirs).max(axis=(0, 2))
    assert (scale > 1e-3).all()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * scale.max())


@pytest.mark.parametrize("contrast", ["answers", "letters"])
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_gradient_along_a_vector_is_the_measured_slope_of_a_small_multiplier(
    lm, contrast, positions
):
    pairs, generator = make_pairs(lm, contrast), np.random.default_rng(0)
    vector = generator.standard_normal((lm.n_layers, lm.width)).astype(np.float32)
    step = 0.01
    conditions = [
        Condition((layer,), "v", sign * step, positions=positions)
        for layer in range(lm.n_layers)
        for sign in (1, -1)
    ]
    _, steered = score(lm, pairs, {"v": vector}, conditions, budget=512)
    difference = (steered[..., 0] - steered[..., 1]).reshape(len(pairs), lm.n_layers, 2)
    measured = (difference[..., 0] - difference[..., 1]) / (2 * step)
    slopes = (item_gradients(lm, pairs, positions, budget=512) * vector).sum(axis=-1)
    assert np.abs(slopes).max() > 0.1
    np.testing.assert_allclose(slopes, measured, rtol=0, atol=0.02 * np.abs(slopes).max())


@pytest.mark.parametrize(
    ("contrast", "positions"),
    zip(["answers", "letters"] * 2, POSITIONS, strict=True),
)
def test_gradients_are_the_same_to_the_bit_in_any_batch(lm, contrast, positions):
    pairs = make_pairs(lm, contrast, 10)
    found = [item_gradients(lm, pairs, positions, budget) for budget in (1, 80, 8000)]
    order = np.random.default_rng(1).permutation(len(pairs))
    mixed = item_gradients(lm, [pairs[place] for place in order], positions, 800)
    found.append(mixed[np.argsort(order)])
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_a_group_s_gradient_is_the_weighted_sum_of_its_completions(load_tiny):
    lm = load_tiny("llama")
    pairs = make_pairs(lm, "answers", 3)
    completions = [(k, pair.matching) for k, pair in enumerate(pairs)]
    completions += [(k, pair.other) for k, pair in enumerate(pairs)]
    weights, groups = [0.5, -2.0, 1.0, 3.0, 0.0, 0.25], [3, 0, 3, 0, 1, 3]
    prompts = [pair.text for pair in pairs]
    ours = gradients(lm, prompts, completions, weights, groups, positions="response", budget=512)
    assert ours.shape == (4, lm.n_layers, lm.width)
    assert ours.dtype == np.float64
    theirs = np.zeros_like(ours)
    for (prompt, ids), weight, group in zip(completions, weights, groups, strict=True):
        theirs[group] += weight * plain_gradient(lm, prompts[prompt], ids, "response")
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4 * np.abs(theirs).max())
    assert np.abs(theirs[[0, 3]]).max() > 0.1
    assert not ours[[1, 2]].any()


def test_a_batch_that_does_not_fit_is_halved(load_tiny, monkeypatch):
    lm = load_tiny("gpt2")
    pairs = make_pairs(lm, "letters", 30)
    expected = item_gradients(lm, pairs, "response", 8000)
    grad, sizes = torch.autograd.grad, []

    def too_small(outputs, inputs):
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > LEAST:
            raise torch.OutOfMemoryError("out of memory")
        return grad(outputs, inputs)

    monkeypatch.setattr(torch.autograd, "grad", too_small)
    np.testing.assert_array_equal(item_gradients(lm, pairs, "response", 8000), expected)
    assert max(sizes) > LEAST
    assert min(sizes) <= LEAST


def test_weights_keep_no_gradient_and_no_graph_is_left(load_tiny):
    lm = load_tiny("llama")
    item_gradients(lm, make_pairs(lm, "answers", 2), "response", 512)
    assert not any(weight.requires_grad for weight in lm.nn._module.parameters())
    assert not torch.is_grad_enabled()
    _, residual = plain.forward(lm, [1, 2, 3])
    assert not residual.requires_grad


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_gradients_near_those_of_float32(model_folders, load_tiny, dtype):
    lm = load_tiny("llama")
    half = load(model_folders["llama"], device="cpu", dtype=dtype, threads=1)
    pairs = make_pairs(lm, "answers")
    full = item_gradients(lm, pairs, "response", 512)
    ours = item_gradients(half, pairs, "response", 512)
    for layer in range(lm.n_layers):
        one, other = full[:, layer].ravel(), ours[:, layer].ravel()
        assert np.corrcoef(one, other)[0, 1] > 0.99


@pytest.mark.long
def test_on_the_default_model_first_order_slopes_agree_with_measured_ones(default_model):
    lm, layer = default_model, 20
    train, test = make_pairs(lm, "answers", 16)[:10], make_pairs(lm, "answers", 16)[10:]
    found = read_activations(lm, train, 1024)
    vector = mean_difference(found["matching"], found["other"])
    conditions = [Condition((layer,), "v", m) for m in (-1.0, -0.5, 0.5, 1.0)]
    _, steered = score(lm, test, {"v": vector}, conditions, budget=1024)
    measured = slopes(np.array([-1.0, -0.5, 0.5, 1.0]), steered[..., 0] - steered[..., 1])
    gradient = item_gradients(lm, test, "response", budget=1024)
    first = first_order_slopes(gradient[:, layer], vector[layer])
    assert measured.mean() > 0.3
    assert first.mean() == pytest.approx(measured.mean(), rel=0.15)
    assert np.corrcoef(first, measured)[0, 1] > 0.9


# the rule's script


def make_job(tmp_path, folder, budget=512):
    """A job on two contrasts' prompt files, which are written."""
    lm = load(folder, device="cpu", dtype="float32", threads=1)
    model = tmp_path / "model"
    if not model.exists():
        shutil.copytree(folder, model)
        name_model(model)
    prompts = {}
    for contrast in ("answers", "letters"):
        for split, n in (("dev", 2), ("test", 4)):
            path = tmp_path / f"{contrast}.{split}.jsonl"
            write_jsonl(path, make_rows(lm, contrast, n, split))
            prompts.setdefault(split, []).append(str(path))
    return Job(
        input={"model": str(model / "engine.json"), **prompts},
        output={"gradients": [str(tmp_path / f"{c}.{budget}.safetensors") for c in ("a", "l")]},
        params={
            "run": {"device": "cpu", "dtype": "float32"},
            "contrasts": ["answers", "letters"],
            "positions": "response",
        },
        wildcards={"behavior": "impatience"},
        threads=1,
        log=str(tmp_path / "log"),
        batch_tokens=budget,
    )


def test_the_file_holds_every_prompt_s_gradient_in_the_prompt_files_order(
    tmp_path, model_folders, load_tiny
):
    job = make_job(tmp_path, model_folders["llama"])
    script("steering.gradients").main(job)
    for contrast, path in zip(job.params["contrasts"], job.output["gradients"], strict=True):
        tensors, metadata = read_tensors(path)
        assert metadata["positions"] == "response"
        assert metadata["contrast"] == contrast
        for split in ("dev", "test"):
            rows = read_jsonl(tmp_path / f"{contrast}.{split}.jsonl")
            assert metadata["prompts"][split] == [row["id"] for row in rows]
            assert tensors[split].dtype == np.float32
            theirs = plain_item_gradients(load_tiny("llama"), choices(rows), "response")
            np.testing.assert_allclose(
                tensors[split], theirs, rtol=0, atol=2e-4 * np.abs(theirs).max()
            )


def test_the_file_is_the_same_to_the_byte_for_any_budget(tmp_path, model_folders):
    files = []
    for budget in (1, 4000):
        job = make_job(tmp_path, model_folders["gpt2"], budget)
        script("steering.gradients").main(job)
        files.append([Path(path).read_bytes() for path in job.output["gradients"]])
    assert files[0] == files[1]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_a_gradient_that_is_not_finite_is_refused_and_nothing_is_written(value, tmp_path):
    rows = [{"id": f"tea-{k}", "behavior": "tea", "contrast": "letters"} for k in range(3)]
    found = np.ones((3, 4, 5))
    found[1, 2, 3] = value
    path = tmp_path / "tea.gradients.safetensors"
    with pytest.raises(UserError) as raised:
        write_gradients(
            path, {"dev": rows[:1], "test": rows}, {"dev": found[:1], "test": found}, {}
        )
    said = str(raised.value)
    for part in (str(path), "tea", "letters", "prompt tea-1", "block 2", "1 of 12", "float32"):
        assert part in said
    assert not list(tmp_path.iterdir())
