"""Next-token neurons: congruence in chunks, both ways round; the filter, its reasons, control."""

import copy

import numpy as np
import pytest
import torch

from steerpaper.engine.layers import resolve_layers
from steerpaper.engine.text import beginning, begins_with
from steerpaper.engine.weights import neurons_out
from steerpaper.errors import UserError
from steerpaper.lookups.neurons import (
    Best,
    best_congruence,
    by_layer,
    choose_neurons,
    model_congruence,
    read_directions,
    rejected_by_hand,
    rejection,
    token_table,
    token_texts,
)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_congruence_equals_one_neuron_and_token_at_a_time(load_tiny, name):
    lm = load_tiny(name)
    best = model_congruence(lm, range(lm.n_layers))
    module = lm.nn._module
    norm = module.get_submodule(lm.where.final_norm)
    # what each token's logit reads of the residual stream: gain, centring, unembedding
    identity = torch.eye(lm.width)
    if name != "llama":
        identity = identity - identity.mean(dim=0)
    logits = (identity * norm.weight) @ module.get_output_embeddings().weight.T
    logits = logits - logits.mean(dim=1, keepdim=True)
    for layer in range(lm.n_layers):
        table = neurons_out(lm, layer) @ logits
        np.testing.assert_array_equal(best.token[layer], table.argmax(dim=1))
        np.testing.assert_allclose(best.congruence[layer], table.amax(dim=1), rtol=1e-4)
    every = torch.stack([neurons_out(lm, layer) for layer in range(lm.n_layers)]) @ logits
    flat = every.flatten(0, 1).argmax(dim=0).numpy()
    np.testing.assert_array_equal(best.layer * every.shape[1] + best.neuron, flat)
    np.testing.assert_allclose(best.token_congruence, every.amax(dim=(0, 1)), rtol=1e-4)


def test_congruence_is_a_neurons_effect_on_the_logits(load_tiny):
    # with the norm's scale held, adding W_out[i] moves the logits by the congruence and a constant
    lm = load_tiny("gpt2")
    norm, head = lm.nn._module.transformer.ln_f, lm.nn._module.lm_head
    residual, step = torch.randn(lm.width), 1e-3
    written = neurons_out(lm, 2)[7]
    written = written - written.mean()
    centred = residual - residual.mean()
    scale = centred.square().mean().add(1e-5).rsqrt()

    def logits(x):
        return head((x - x.mean()) * scale * norm.weight + norm.bias)

    moved = (logits(residual + step * written) - logits(residual)) / step / scale
    ours = read_directions(lm) @ neurons_out(lm, 2)[7]
    torch.testing.assert_close(moved - moved.mean(), ours, rtol=1e-2, atol=1e-3)


def test_the_result_does_not_depend_on_the_chunk():
    generator = torch.Generator().manual_seed(0)
    # small whole numbers: ties everywhere, exact sums
    blocks = [torch.randint(-2, 3, (11, 4), generator=generator).float() for _ in range(3)]
    read = torch.randint(-2, 3, (29, 4), generator=generator).float()
    results = [best_congruence(blocks, read, [0, 2], chunk) for chunk in (1, 50, 10_000)]
    for other in results[1:]:
        for field in ("layer", "neuron", "token_congruence"):
            np.testing.assert_array_equal(getattr(results[0], field), getattr(other, field))
        for layer in (0, 2):
            np.testing.assert_array_equal(results[0].token[layer], other.token[layer])
            np.testing.assert_array_equal(results[0].congruence[layer], other.congruence[layer])
    table = blocks[2] @ read.T
    # of equals the lower
    np.testing.assert_array_equal(results[0].token[2], table.argmax(dim=1))


@pytest.mark.parametrize(
    ("text", "special", "reason"),
    [
        (" the", False, ""),
        (" is", False, ""),
        ("the", False, "does not begin with a space"),
        (" a", False, "not more than one character"),
        ("  ", False, "not more than one character"),
        (" \ufffd\ufffd", False, "part of a character"),
        ("", False, "unused token"),
        (" end", True, "special token"),
    ],
)
def test_a_token_is_rejected_with_its_reason(text, special, reason):
    assert rejection(text, special) == reason


TEXTS = [" the", "x", " of", " a", " and"]


def make_best():
    token = {0: np.array([0, 1, 2, 3, 4, 0])}
    score = {0: np.array([0.1, 0.9, 0.5, 0.8, 0.5, 0.3], dtype=np.float32)}
    zeros = np.zeros(5, dtype=np.int64)
    return Best(token, score, zeros, zeros, zeros.astype(np.float32))


def choose(**sizes):
    return choose_neurons(make_best(), TEXTS, frozenset(), [0], seed=1, **sizes)


def test_neurons_are_taken_down_the_ranking_and_rejections_are_recorded():
    neurons, rejected = choose(next_token=3, random=2)
    named = neurons[neurons["kind"] == "next_token"]
    assert named["neuron"].tolist() == [2, 4, 5]
    assert named["rank"].tolist() == [1, 2, 3]
    assert named["token"].tolist() == [" of", " and", " the"]
    assert rejected[["neuron", "reason"]].to_numpy().tolist() == [
        [1, "does not begin with a space"],
        [3, "not more than one character"],
    ]
    control = neurons[neurons["kind"] == "random"]
    assert len(control) == 2
    assert not set(control["neuron"]) & set(named["neuron"])
    assert by_layer(neurons) == {0: sorted(neurons["neuron"])}


def test_the_choice_is_repeatable():
    one, other = choose(next_token=2, random=2), choose(next_token=2, random=2)
    assert one[0].equals(other[0])


def test_too_few_neurons_are_said():
    with pytest.raises(UserError, match=r"lookups.neurons: block 0 has 6 neurons, 4 of them"):
        choose(next_token=5, random=0)


def test_token_texts_keep_the_leading_space(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    texts = token_texts(tokenizer, 610)
    assert len(texts) == 610
    assert texts[605] == ""
    [token] = [id for id, text in enumerate(texts) if text == " the"]
    assert tokenizer(" the", add_special_tokens=False).input_ids == [token]
    table = token_table(
        model_congruence(load_tiny("llama"), [0]), texts[:600], frozenset([0, 1, 2])
    )
    assert table["candidate"].sum() > 50
    assert not table["candidate"][:3].any()


def test_the_last_blocks_can_be_named_and_a_block_out_of_range_is_refused():
    assert resolve_layers({"last": 2}, 5, "lookups.layers") == [3, 4]
    with pytest.raises(UserError, match=r"lookups.layers.last: 6 blocks are asked for; .* has 5"):
        resolve_layers({"last": 6}, 5, "lookups.layers")
    with pytest.raises(UserError, match="block 5 does not exist"):
        resolve_layers([5], 5, "lookups.layers")


def test_neurons_rejected_by_hand_are_neither_chosen_nor_drawn_and_are_recorded():
    neurons, _ = choose_neurons(
        make_best(), TEXTS, frozenset(), [0], seed=1, next_token=1, random=1
    )
    by_hand = {(0, int(neurons["neuron"].iloc[0]))}
    others, more = choose_neurons(
        make_best(), TEXTS, frozenset(), [0], seed=1, next_token=1, random=1, by_hand=by_hand
    )
    assert not by_hand & {*zip(others["layer"], others["neuron"], strict=True)}
    recorded = more[more["reason"] == "by hand"]
    assert {*zip(recorded["layer"], recorded["neuron"], strict=True)} == by_hand
    assert rejected_by_hand(["0.3", "0.11"], [0, 1], 12) == {(0, 3), (0, 11)}
    with pytest.raises(UserError, match=r"no neuron 0\.12 to reject"):
        rejected_by_hand(["0.12"], [0, 1], 12)


def test_a_prompt_begins_with_the_models_own_token_or_with_none_and_the_corpus_says_so(load_tiny):
    tokenizer = copy.deepcopy(load_tiny("llama").tokenizer)
    assert beginning(tokenizer, True) == [tokenizer.bos_token_id]
    assert beginning(tokenizer, "<|end|>") == [tokenizer.eos_token_id]
    assert beginning(tokenizer, False) == []
    said = [begins_with(tokenizer, bos) for bos in (True, "<|end|>", False)]
    assert said == [tokenizer.bos_token, "<|end|>", "nothing"]
    tokenizer.bos_token = None
    assert beginning(tokenizer, True) == []
    assert begins_with(tokenizer, True) == "nothing: the tokenizer names no token"
