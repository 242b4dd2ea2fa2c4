"""Top activations, truncation and head attribution equal the plain way, in any batch."""

import weakref
from dataclasses import astuple
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import plain_lookups as plain
import pytest
import torch
from conftest import ARCHITECTURES

from steerpaper.engine.batching import width_of
from steerpaper.engine.weights import mlp_norm, neurons_in
from steerpaper.lookups.ablations import Ablation, ablate
from steerpaper.lookups.attribution import head_attribution, heads_before, is_active
from steerpaper.lookups.top_activations import (
    firing_counts,
    merge_tables,
    top_activations,
    top_table,
)
from steerpaper.lookups.truncation import (
    Firing,
    bisect_lengths,
    last_activations,
    shortest_lengths,
    truncate,
)

NEURONS = {1: [0, 5, 17], 3: [2, 40]}


@pytest.fixture(params=ARCHITECTURES)
def lm(request, load_tiny):
    return load_tiny(request.param)


def make_prompts(n=23):
    generator = np.random.default_rng(3)
    return [
        generator.integers(3, 600, size=length).tolist()
        for length in generator.integers(1, 60, size=n)
    ]


@pytest.mark.parametrize("bos", [True, False])
def test_top_activations_equal_a_full_sort_of_plain_passes(lm, bos):
    prompts = make_prompts()
    top = top_activations(lm, NEURONS, prompts, k=6, bos=bos, budget=300)
    for number, (layer, neuron, rows) in enumerate(plain.top(lm, NEURONS, prompts, 6, bos)):
        activation, prompt, position = zip(*rows, strict=True)
        assert top.prompt[number].tolist() == list(prompt), (layer, neuron)
        assert top.position[number].tolist() == list(position)
        np.testing.assert_allclose(top.activation[number], activation, rtol=1e-4, atol=1e-5)


def test_top_activations_are_the_same_bits_in_any_batch_and_shard(lm):
    prompts = make_prompts(40)
    ids = [f"train-{number:05d}" for number in range(len(prompts))]

    def table(shards, budget):
        parts = []
        for shard in range(shards):
            mine = prompts[shard::shards]
            top = top_activations(lm, NEURONS, mine, k=5, bos=True, budget=budget)
            names = dict(enumerate(ids[shard::shards]))
            parts.append(top_table(top, NEURONS, names, "train"))
        return merge_tables(parts, 5)

    first = table(1, 512)
    for shards, budget in ((1, 100), (1, 10_000), (3, 512), (7, 1)):
        pd.testing.assert_frame_equal(first, table(shards, budget), check_exact=True)


def test_taking_prompts_a_piece_at_a_time_changes_nothing(lm, monkeypatch):
    prompts = make_prompts(40)
    whole = top_activations(lm, NEURONS, prompts, k=5, bos=True, budget=512)
    monkeypatch.setattr("steerpaper.lookups.top_activations.PLANNED", 7)
    pieces = top_activations(lm, NEURONS, iter(prompts), k=5, bos=True, budget=50)
    for one, other in zip(astuple(whole), astuple(pieces), strict=True):
        np.testing.assert_array_equal(one, other)


class Row(list):
    """A list that can be referred to weakly."""


def test_no_more_prompts_are_held_than_two_pieces(load_tiny, monkeypatch):
    monkeypatch.setattr("steerpaper.lookups.top_activations.PLANNED", 7)
    held, most = weakref.WeakValueDictionary(), []

    def prompts():
        for number, ids in enumerate(make_prompts(60)):
            row = held[number] = Row(ids)
            most.append(len(held))
            yield row
            del row

    lm = load_tiny("llama")
    top_activations(lm, NEURONS, prompts(), k=5, bos=True, budget=50)
    assert len(most) == 60
    assert max(most) <= 2 * 7


def test_a_width_follows_from_the_length_alone_and_wastes_little():
    for length in range(1, 3000):
        width = width_of(length)
        assert length <= width < length + max(4, length / 8)


def test_a_neuron_that_never_fires_is_counted_and_not_dropped_silently():
    neurons = pd.DataFrame({"layer": [0, 0], "neuron": [1, 2], "kind": ["next_token", "random"]})
    table = pd.DataFrame(
        {
            "layer": [0],
            "neuron": [1],
            "split": ["train"],
            "rank": [1],
            "prompt_id": ["train-00001"],
            "position": [0],
            "activation": [0.5],
        }
    )
    counts = firing_counts(neurons, table, {"train": 10, "test": 9}, k=3)
    assert counts["prompts"].tolist() == [1, 0, 0, 0]
    assert counts["missing"].tolist() == [2, 3, 3, 3]


def test_prompts_without_a_positive_activation_have_no_row():
    from steerpaper.lookups.top_activations import Top

    top = Top(
        np.array([[0.5, 0.0, -0.1]], dtype=np.float32),
        np.array([[2, 0, 1]]),
        np.array([[4, 0, 0]]),
    )
    table = top_table(top, {7: [3]}, {0: "a", 1: "b", 2: "c"}, "test")
    assert table.to_dict("records") == [
        {
            "layer": 7,
            "neuron": 3,
            "split": "test",
            "rank": 1,
            "prompt_id": "c",
            "position": 4,
            "activation": 0.5,
        }
    ]


def make_pairs(lm, bos):
    prompts = make_prompts()
    top = top_activations(lm, NEURONS, prompts, k=4, bos=bos, budget=512)
    names = [(layer, neuron) for layer, chosen in NEURONS.items() for neuron in chosen]
    return [
        Firing(layer, neuron, prompts[prompt][: position + 1], float(activation))
        for (layer, neuron), *row in zip(
            names, top.prompt, top.position, top.activation, strict=True
        )
        for prompt, position, activation in zip(*row, strict=True)
        if activation > 0
    ]


SHORTEST = partial(shortest_lengths, longest=100)
SEARCHES = {"shortest": (SHORTEST, plain.shortest), "bisection": (bisect_lengths, plain.truncate)}


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("name", SEARCHES)
def test_truncation_equals_the_plain_search_and_keeps_the_bound_when_run_alone(lm, bos, name):
    search, plain_search = SEARCHES[name]
    pairs = make_pairs(lm, bos)
    lengths, values = truncate(lm, pairs, search, ratio=0.8, bos=bos, budget=300)
    assert (lengths < [len(pair.ids) for pair in pairs]).any()
    for pair, length, value in zip(pairs, lengths, values, strict=True):
        expected = plain_search(lm, pair.layer, pair.neuron, pair.ids, 0.8, bos)
        assert length == expected[0]
        assert value == pytest.approx(expected[1], rel=1e-4)
        alone = plain.activations(lm, plain.start(lm, bos) + pair.ids[-length:], pair.layer)
        assert alone[-1, pair.neuron].item() >= 0.8 * pair.activation


def test_truncation_gives_the_same_bits_in_any_batch(lm):
    pairs = make_pairs(lm, True)
    first = truncate(lm, pairs, SHORTEST, ratio=0.8, bos=True, budget=300)
    for budget in (1, 100_000):
        other = truncate(lm, pairs, SHORTEST, ratio=0.8, bos=True, budget=budget)
        for one, another in zip(first, other, strict=True):
            np.testing.assert_array_equal(one, another)


def test_bisection_reports_only_suffixes_that_were_measured_to_keep_the_share():
    # fires more on some shorter suffixes than on longer ones
    table = {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.85, 5: 0.1, 6: 0.95, 7: 0.3, 8: 1.0}
    calls = []

    def measure(which, lengths):
        calls.append(lengths)
        return np.array([table[length] for length in lengths], dtype=np.float32)

    kept, value = bisect_lengths([8, 1], [1.0, 1.0], 0.8, measure)
    assert value[0] == np.float32(table[kept[0]])
    assert table[kept[0]] >= 0.8
    assert (kept[1], value[1]) == (1, 1.0)
    assert all(len(call) == 1 for call in calls)
    kept, value = bisect_lengths([], [], 0.8, measure)
    assert len(kept) == 0


@pytest.mark.parametrize("length", range(1, 12))
def test_bisection_tries_the_lengths_that_halving_first_positions_tries(length):
    # whatever the answers are: each bit pattern is a way through
    for answers in product([True, False], repeat=4):
        expected, tried, given = [], [], iter(answers)
        enough, missed = 0, length - 1
        while (middle := (enough + missed) // 2) != enough:
            expected.append(length - middle)
            enough, missed = (middle, missed) if next(given) else (enough, middle)
        given = iter(answers)

        def measure(which, lengths, tried=tried, given=given):
            tried.extend(lengths)
            return np.array([float(next(given)) for _ in lengths], dtype=np.float32)

        kept, _ = bisect_lengths([length], [1.0], 0.8, measure)
        assert tried == expected
        assert kept.tolist() == [length - enough]


def test_the_shortest_suffix_is_found_where_bisection_passes_it_by():
    # fires more on some shorter suffixes than on longer ones
    table = {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.85, 5: 0.1, 6: 0.95, 7: 0.3, 8: 1.0}
    tried = []

    def measure(which, lengths):
        tried.extend(lengths)
        return np.array([table[length] for length in lengths], dtype=np.float32)

    kept, value = SHORTEST([8, 1, 8], [1.0, 1.0, 1.2], 0.8, measure)
    assert kept.tolist() == [2, 1, 8]
    assert value.tolist() == [np.float32(0.9), 1.0, np.float32(1.2)]
    assert max(tried) < 8
    # no longer one is tried than is wanted: the whole prompt stays
    kept, _ = partial(shortest_lengths, longest=1)([8], [1.0], 0.8, measure)
    assert kept.tolist() == [8]
    assert len(SHORTEST([], [], 0.8, measure)[0]) == 0


@pytest.fixture
def biased(load_tiny, request):
    """A tiny model whose every bias, and every norm's weight, is a number of its own."""
    lm = load_tiny(request.param)
    generator = torch.Generator().manual_seed(0)
    before = {name: part.clone() for name, part in lm.nn._module.named_parameters()}
    for name, part in lm.nn._module.named_parameters():
        if part.dim() == 1:
            noise = 0.5 * torch.randn(part.shape, generator=generator)
            part.data.copy_(noise + (0 if name.endswith("bias") else 1))
    yield lm
    for name, part in lm.nn._module.named_parameters():
        part.data.copy_(before[name])


@pytest.mark.parametrize("biased", ["gpt2", "gpt_neox", "qwen2"], indirect=True)
def test_published_attribution_leaves_the_biases_to_no_head(biased):
    neurons, rows = make_rows()
    ours, theirs = (
        np.array(found)
        for found in (
            head_attribution(biased, 3, neurons, rows, bos=True, budget=200, published=True)[0],
            [
                plain.attribution(biased, 3, neuron, ids, True, True)
                for neuron, ids in zip(neurons, rows, strict=True)
            ],
        )
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
    # the biases matter: with them it is another attribution
    whole, _ = head_attribution(biased, 3, neurons, rows, bos=True, budget=200)
    assert np.abs(whole[:, : ours.shape[1]] - ours).max() > 0.01 * np.abs(ours).max()


@pytest.mark.parametrize("biased", ["gpt2", "gpt_neox", "qwen2"], indirect=True)
def test_published_ablation_leaves_what_a_head_gives_always(biased):
    lm, heads = biased, 4
    prompts = [(5, 6, 7, 8), (9, 10, 11)]
    ablations = [
        Ablation(prompt, "heads", layer, head, 20)
        for prompt in prompts
        for layer, head in ((0, 1), (2, 3))
    ]
    effects = ablate(lm, ablations, budget=64, published=True)
    zeroed = ablate(lm, ablations, budget=64)
    size = lm.width // heads
    for number, ablation in enumerate(ablations):
        part = slice(ablation.unit * size, (ablation.unit + 1) * size)
        kept = plain.always_of(lm, ablation.layer).detach()[part]

        def change(module, inputs, part=part, kept=kept):
            changed = inputs[0].clone()
            changed[..., part] = kept
            return (changed,)

        block = lm.blocks[ablation.layer]._module
        handle = block.get_submodule(lm.parts.heads_out).register_forward_pre_hook(change)
        try:
            with torch.no_grad():
                logits = lm.nn._module(input_ids=torch.tensor([ablation.prompt])).logits[0, -1]
        finally:
            handle.remove()
        expected = logits.log_softmax(-1)[20].item()
        assert effects.ablated_logprob[number] == pytest.approx(expected, abs=1e-4)
    assert np.abs(effects.ablated_logprob - zeroed.ablated_logprob).max() > 1e-3


def make_rows():
    prompts = make_prompts(11)
    return [2, 40, 7, 2, 40, 7, 2, 40, 7, 2, 5], prompts


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("layer", [1, 3])
def test_head_attribution_equals_one_head_at_a_time(lm, layer, published):
    neurons, rows = make_rows()
    ours, scales = head_attribution(
        lm, layer, neurons, rows, bos=True, budget=200, published=published
    )
    assert (scales is None) == (not lm.parts.heads_norm)
    theirs = np.array(
        [
            plain.attribution(lm, layer, neuron, ids, True, published)
            for neuron, ids in zip(neurons, rows, strict=True)
        ]
    )
    assert ours.shape == theirs.shape == (len(rows), heads_before(lm, layer, published), 4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_head_attribution_gives_the_same_bits_in_any_batch(lm):
    neurons, rows = make_rows()
    found = [
        head_attribution(lm, 3, neurons, rows, bos=True, budget=budget)[0]
        for budget in (1, 200, 100_000)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_attributions_sum_to_what_the_whole_attention_output_gives(lm):
    layer, neuron, ids = 3, 5, make_prompts()[4]
    parts = lm.parts
    published = bool(parts.mlp_gate)  # a fixed direction, so that it can be written down here
    ours, _ = head_attribution(
        lm, layer, [neuron], [ids], bos=True, budget=200, published=published
    )
    seen = plain.watch(lm, plain.start(lm, True) + ids)
    norm = mlp_norm(lm, layer)
    direction = norm.fold(neurons_in(lm, layer)[neuron])
    scale = norm.scale(seen[layer, parts.mlp_norm][0][-1])
    for block in range(ours.shape[1]):
        out = written = seen[block, parts.heads_out][1][-1]
        bias = getattr(lm.blocks[block]._module.get_submodule(parts.heads_out), "bias", None)
        if bias is not None:
            written = written - bias
        behind = plain.frozen(lm.blocks[block]._module, parts.heads_norm, out)
        whole = (scale * (behind(written).float() @ direction)).item()
        assert ours[0, block].sum() == pytest.approx(whole, rel=1e-3, abs=1e-5)


def test_a_gated_neurons_attributions_follow_its_local_change(load_tiny):
    # a small step of one head's output along itself changes the neuron as the attribution says
    lm = load_tiny("llama")
    layer, neuron, ids = 2, 5, make_prompts()[2]
    ours = head_attribution(lm, layer, [neuron], [ids], bos=True, budget=200)[0][0]
    parts, block = lm.parts, lm.blocks[layer]._module
    seen = plain.watch(lm, plain.start(lm, True) + ids)
    norm = mlp_norm(lm, layer)
    residual, normed = (part[-1].double() for part in seen[layer, parts.mlp_norm])
    scale = norm.scale(residual).double()
    z, head, step = seen[1, parts.heads_out][0][-1].double(), 2, 1e-4
    weight = plain.output_weight(lm.blocks[1]._module.get_submodule(parts.heads_out)).double()
    part = slice(head * 8, head * 8 + 8)
    moved = normed + step * (z[part] @ weight[part]) * scale * norm.gain.double()

    def fire(x):
        gate = x @ block.get_submodule(parts.mlp_gate).weight.double()[neuron]
        up = x @ block.get_submodule(parts.mlp_in).weight.double()[neuron]
        return torch.nn.functional.silu(gate) * up

    slope = ((fire(moved) - fire(normed)) / step).item()
    assert ours[1, head] == pytest.approx(slope, rel=1e-2, abs=1e-6)


def test_a_head_is_active_above_mean_and_two_deviations_and_a_prompt_may_have_none():
    table = np.zeros((2, 20), dtype=np.float32)
    table[0, 3] = 10
    assert is_active(table).nonzero()[0].tolist() == [0]
    assert is_active(table).nonzero()[1].tolist() == [3]


def test_a_parallel_models_own_block_is_not_before_its_neurons(load_tiny):
    assert heads_before(load_tiny("llama"), 2, False) == 3
    assert heads_before(load_tiny("llama"), 2, True) == 2
    assert heads_before(load_tiny("gpt_neox"), 2, False) == 2


def test_last_activations_are_read_at_the_last_token_of_each_row(lm):
    rows, neurons = [[5, 6, 7], [8], [9, 10]], [(3, 1), (0, 2), (3, 4)]
    ours = last_activations(lm, neurons, rows, bos=False, budget=50)
    theirs = [
        plain.activations(lm, row, layer)[-1, neuron].item()
        for row, (layer, neuron) in zip(rows, neurons, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
