"""What would make numbers that mean nothing ends in one message: where, and what to do."""

import importlib
import logging

import numpy as np
import plain
import pytest
import torch
from test_equality import make_pairs, make_vectors
from tiny_models import LLAMA
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Phi3Config

from steerpaper.engine import rope
from steerpaper.engine.batching import empty_prefix
from steerpaper.engine.condition import Condition
from steerpaper.engine.forward import forward
from steerpaper.engine.generate import Decoding, Request, complete, sample_sequences
from steerpaper.engine.guards import first_broken
from steerpaper.engine.proof import load
from steerpaper.engine.score import score, score_completions
from steerpaper.errors import UserError
from steerpaper.judges.local import LocalJudge
from steerpaper.steering.activations import read_activations
from steerpaper.steering.reasoning import Chain, Question, score_chains
from steerpaper.workflow.files import write_tensors
from steerpaper.workflow.job import Job

# numbers that are none


@pytest.fixture
def broken(model_folders):
    """A model whose block 2 gives what no number holds: its weights are large there."""

    def make(name):
        lm = load(model_folders[name], device="cpu", dtype="float32", threads=1)
        out = {"llama": "model.layers.2.mlp.down_proj", "gpt2": "transformer.h.2.mlp.c_proj"}
        out["gpt_neox"] = "gpt_neox.layers.2.mlp.dense_4h_to_h"
        with torch.no_grad():
            lm.nn._module.get_submodule(out[name]).weight.fill_(3e38)
        return lm

    return make


FAMILIES = ["llama", "gpt2", "gpt_neox"]
SAID = "after block 2 the residual stream is not finite: the model's numbers ran over"


@pytest.mark.parametrize("name", FAMILIES)
def test_activations_that_are_no_numbers_stop_with_the_item_and_the_block(broken, name):
    lm = broken(name)
    pairs = make_pairs(lm, "answers", 1)
    with pytest.raises(UserError) as raised:
        read_activations(lm, pairs, 512)
    assert str(raised.value).startswith(f"activations ({pairs[0].id}): {SAID}")


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_that_are_no_numbers_stop_with_the_prompt_and_the_block(broken, name):
    lm = broken(name)
    pairs = make_pairs(lm, "answers", 1)
    with pytest.raises(UserError) as raised:
        score(lm, pairs, make_vectors(lm), [Condition((1,), "random-0", 1.0)], budget=512)
    assert str(raised.value).startswith(f"scoring ({pairs[0].id}, unsteered): {SAID}")


@pytest.mark.parametrize("name", FAMILIES)
def test_sampling_from_no_numbers_stops_with_the_prompt_and_the_block(broken, name):
    lm = broken(name)
    request = Request([5, 6, 7], None, None, "tea-1")
    with pytest.raises(UserError) as raised:
        sample_sequences(lm, [request], {}, Decoding(3, 1.0, 1.0, 256))
    assert str(raised.value).startswith(f"sampling (tea-1, unsteered): {SAID}")


def test_a_model_that_has_no_numbers_is_refused_when_it_is_loaded(model_folders, tmp_path):
    module = AutoModelForCausalLM.from_pretrained(model_folders["llama"])
    module.model.layers[2].mlp.down_proj.weight.data.fill_(6e4)
    module.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model_folders["llama"]).save_pretrained(tmp_path)
    load(tmp_path, device="cpu", dtype="float32", threads=1)
    with pytest.raises(
        UserError, match="after block 2 the residual stream is not finite in float16"
    ):
        load(tmp_path, device="cpu", dtype="float16", threads=1)


def huge(lm, layer):
    vector = np.zeros((lm.n_layers, lm.width))
    vector[layer] = 3e38
    return {"v": vector}


def test_one_steered_row_of_many_is_the_one_that_is_named(lm):
    pairs, vectors = make_pairs(lm, "answers", 4), huge(lm, 1)
    weak, strong = Condition((1,), "v", 1e-38), Condition((1,), "v", -9.0)
    weak_scores = score(lm, pairs, vectors, [weak], budget=512)
    assert all(np.isfinite(part).all() for part in weak_scores)
    prompts = [pair.text for pair in pairs]
    found = score_completions(
        lm, prompts, [(2, pairs[2].matching)], vectors, [weak, strong], budget=512
    )
    said = r"scoring \(prompt 3, block 1, multiplier -9\): after block 1 the residual stream"
    with pytest.raises(UserError, match=said):
        list(found)
    requests = [
        Request(pairs[0].text, weak, ("x", 0), "tea-1"),
        Request(pairs[1].text, strong, ("x", 1), "tea-2"),
    ]
    with pytest.raises(UserError, match=r"sampling \(tea-2, block 1, multiplier -9\): after blo"):
        sample_sequences(lm, requests, vectors, Decoding(4, 1.0, 1.0, 256))


def test_a_steered_answer_after_reasoning_is_named_with_both_multipliers(lm):
    question = Question("tea-3", [5, 6, 7], [8, 9], [10], [11, 12])
    vector = huge(lm, 2)["v"]
    chains = [Chain(0, (13, 14), 0.0, 0.0), Chain(0, (13, 14), 0.0, 8.0)]
    with pytest.raises(UserError) as raised:
        score_chains(lm, [question], chains, vector, (2,), 256)
    assert str(raised.value).startswith(
        "scoring (tea-3, multiplier 0 during the reasoning, 8 during the answer): after block 2 "
    )
    assert np.isfinite(score_chains(lm, [question], chains[:1], vector, (2,), 256)).all()


def test_the_first_block_is_found_where_it_is(lm):
    ids = [5, 6, 7, 8]
    assert first_broken(lm, ids, {}) is None
    for layer in range(lm.n_layers):
        edit = {(layer, "residual"): lambda hidden: hidden * torch.inf}
        assert first_broken(lm, ids, edit) == layer


# sequences that are too long


def test_a_completion_beyond_the_context_is_refused_before_anything_is_sampled(lm, monkeypatch):
    def never(*_):
        raise AssertionError("a forward pass was run")

    short, long = (
        Request([5] * n, None, ("x", n), f"tea-{n}") for n in (lm.context - 4, lm.context - 3)
    )
    decoding = Decoding(4, 1.0, 1.0, 1024, "steering.completions.max_new_tokens")
    assert len(sample_sequences(lm, [short], {}, decoding)[0]) <= 4
    monkeypatch.setattr("steerpaper.engine.generate.Prefixes", never)
    with pytest.raises(UserError) as raised:
        sample_sequences(lm, [short, long], {}, decoding)
    assert str(raised.value) == (
        "tea-253: 253 tokens and up to 4 new: 257 tokens, but the model reads 256; "
        "lower steering.completions.max_new_tokens or shorten the prompt"
    )


def test_a_completion_that_is_scored_beyond_the_context_is_refused(lm):
    def scored(length):
        return score_completions(lm, [[5, 6]], [(0, [7] * length)], {}, [], budget=512)

    ((numbers, values),) = scored(lm.context - 2)
    assert numbers == [0]
    assert np.isfinite(values).all()
    with pytest.raises(UserError, match=r"prompt 1 with what follows it: 257 tokens, but the mod"):
        next(scored(lm.context - 1))


@pytest.mark.parametrize("section", ["lookups.explanations", "steering.ratings"])
def test_the_local_judge_names_its_key(load_tiny, section):
    judge = LocalJudge(load_tiny("gpt2"), max_new_tokens=9, budget=512, section=section)
    question = "Tea? " * 99
    assert not judge.fits(question)
    with pytest.raises(UserError, match=rf"lower {section}\.max_new_tokens"):
        judge.write([question])


# positions that are stretched

ORIGINAL = 32
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
LLAMA3 = {
    **{"rope_type": "llama3", "factor": 4.0, "rope_theta": 1e4},
    **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "original_max_position_embeddings": ORIGINAL,
}
YARN = {
    **{"rope_type": "yarn", "factor": 8.0, "rope_theta": 1e4},
    "original_max_position_embeddings": ORIGINAL,
}
LONG = {
    **{"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4},
    **{"long_factor": [1.0, 2.0, 4.0, 8.0], "original_max_position_embeddings": ORIGINAL},
}


@pytest.fixture
def stretched(tmp_path, tokenizer_folder):
    """A tiny model with a rope scaling."""

    def make(scaling):
        torch.manual_seed(0)
        if scaling["rope_type"] == "longrope":
            config = Phi3Config(
                **LLAMA, rope_parameters=scaling, original_max_position_embeddings=ORIGINAL
            )
        else:
            config = LlamaConfig(**LLAMA, rope_parameters=scaling)
            if scaling["rope_type"] == "dynamic":
                config.max_position_embeddings = ORIGINAL
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
        AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(tmp_path)
        return load(tmp_path, device="cpu", dtype="float32", threads=1)

    return make


def run(lm, length):
    ids = torch.full((2, length), 7)
    forward(lm, ids, torch.ones_like(ids), empty_prefix(lm, 2).cache)


@pytest.mark.parametrize("scaling", [DYNAMIC, LONG], ids=lambda one: one["rope_type"])
def test_a_shared_beginning_is_wrong_where_positions_move_and_such_a_pass_is_refused(
    stretched, scaling
):
    lm = stretched(scaling)
    ids = torch.randint(3, 600, (1, ORIGINAL + 8), generator=torch.manual_seed(1))
    module = lm.nn._module
    whole = module(input_ids=ids).logits[:, -1]
    kept = module(input_ids=ids[:, :20], use_cache=True).past_key_values
    after = module(input_ids=ids[:, 20:], past_key_values=kept).logits[:, -1]
    assert (whole - after).abs().max() > 0.01
    assert lm.stretch == rope.Stretch(scaling["rope_type"], ORIGINAL)
    run(lm, ORIGINAL)
    with pytest.raises(UserError, match=rf"a sequence of 33 tokens; beyond 32 .*{lm.stretch.kind}"):
        run(lm, ORIGINAL + 1)
    request = Request([5] * 30, None, None, "tea-1")
    if lm.context == ORIGINAL:
        with pytest.raises(UserError, match="reads 32"):
            sample_sequences(lm, [request], {}, Decoding(4, 1.0, 1.0, 256))
        return
    # beyond it every row is run whole, by itself
    pairs = make_pairs(lm, "answers", 2)
    assert min(pair.length for pair in pairs) > ORIGINAL
    ours, _ = score(lm, pairs, {}, [], budget=512)
    for pair, (matching, _) in zip(pairs, ours, strict=True):
        assert matching == pytest.approx(plain.logprob(lm, pair.text, pair.matching), abs=1e-3)
    assert complete(lm, [request], {}, Decoding(4, 1.0, 1.0, 256)) == [
        plain.greedy(lm, request.prompt, None, {}, 4)
    ]


@pytest.mark.parametrize("scaling", [LLAMA3, YARN], ids=lambda one: one["rope_type"])
def test_a_stretch_that_stays_is_exact_and_warned_of_once(stretched, scaling, caplog):
    lm = stretched(scaling)
    rope._warn.cache_clear()
    pairs = make_pairs(lm, "answers", 3)
    assert min(pair.length for pair in pairs) > ORIGINAL
    caplog.clear()  # of what its proof said
    with caplog.at_level(logging.WARNING):
        run(lm, ORIGINAL)
        assert not caplog.records
        ours, _ = score(lm, pairs, {}, [], budget=512)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"model {lm.name}: sequences of more than 32 tokens, where its rotary positions are "
        f"stretched ({scaling['rope_type']})"
    ]
    for pair, (matching, _) in zip(pairs, ours, strict=True):
        assert matching == pytest.approx(plain.logprob(lm, pair.text, pair.matching), abs=1e-3)


def test_models_without_a_stretch_have_none(lm):
    assert lm.stretch is None
    assert lm.context == 256
    run(lm, 256)


def test_of_several_stretches_the_one_that_limits_most_is_taken():
    class Config:
        max_position_embeddings = 128
        rope_parameters = {  # noqa: RUF012
            "full_attention": YARN,
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "other": LONG | {"original_max_position_embeddings": 64},
        }

    assert rope.stretch_of(Config) == rope.Stretch("longrope", 64)
    del Config.rope_parameters["other"]
    assert rope.stretch_of(Config) == rope.Stretch("yarn", 32)
    Config.rope_parameters = {"rope_type": "linear", "factor": 4.0}
    assert rope.stretch_of(Config) is None


# a vector that does nothing


def make_steering(folder, vector):
    metadata = {"model": "m", "revision": "0", "behavior": "tea", "contrast": "letters", "n": "3"}
    write_tensors(folder / "raw", {"mean_difference": vector, "random-0": vector}, metadata)
    norms = {f"{side}_norms": np.ones((2, 4), np.float32) for side in ("matching", "other")}
    write_tensors(folder / "activations", norms, {})
    activations = str(folder / "activations")
    job = Job(
        input={"vectors": [str(folder / "raw")], "all": [], "activations": [activations]},
        output={"vectors": [str(folder / "steering")]},
        params={"estimator": "mean_difference", "normalize": False, "multiplier_unit": "vector"},
        wildcards={"behavior": "tea"},
        threads=1,
        log="",
    )
    importlib.import_module("steering.steering_vectors").main(job)


def test_a_steering_vector_of_norm_zero_is_warned_of_with_behaviour_contrast_and_block(
    tmp_path, caplog
):
    vector = np.ones((4, 3), dtype=np.float32)
    with caplog.at_level(logging.WARNING):
        make_steering(tmp_path, vector)
        assert not caplog.records
        vector[[0, 2]] = 0
        make_steering(tmp_path, vector)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "tea (letters): the vector has norm zero at block 0, 2: steering there does nothing"
    ]
