"""In bfloat16 and float16, scores and samples come from logits that are made in float32."""

from dataclasses import replace

import numpy as np
import plain
import pytest
import torch
from conftest import ARCHITECTURES
from test_equality import make_conditions, make_pairs, make_vectors
from tiny_models import LLAMA, configurations
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
)

from steerpaper.engine import generate, unembed
from steerpaper.engine.batching import empty_prefix
from steerpaper.engine.forward import forward
from steerpaper.engine.generate import Decoding, Request, complete, sample_sequences
from steerpaper.engine.proof import load
from steerpaper.engine.score import score
from steerpaper.errors import UserError
from steerpaper.judges.local import LocalJudge
from steerpaper.lookups.ablations import Ablation, ablate
from steerpaper.lookups.explanations import judgement
from steerpaper.steering.reasoning import Chain, Question, score_chains

SHORT = ["bfloat16", "float16"]


def reference(folder, residual):
    """Logits [..., V] of a residual stream [..., d]: transformers' own modules in float32.

    The weights are those of the shorter type, read into float32.
    """
    module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    base = module.base_model
    norm = next(
        getattr(base, name) for name in ("norm", "ln_f", "final_layer_norm") if hasattr(base, name)
    )
    logits = module.lm_head(norm(residual.float()))
    cap = getattr(module.config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


@pytest.fixture(scope="module")
def load_short(model_folders, tmp_path_factory):
    """Load a tiny model in a shorter type; its folder's weights are of that type."""
    loaded = {}

    def load_once(name, dtype):
        if (name, dtype) not in loaded:
            folder = tmp_path_factory.mktemp(f"{name}-{dtype}")
            saved(model_folders[name], folder, dtype)
            loaded[name, dtype] = (folder, load(folder, device="cpu", dtype=dtype, threads=1))
        return loaded[name, dtype]

    return load_once


def saved(source, folder, dtype, change=lambda module: None):
    """Save a model's weights in a type, with its tokenizer."""
    module = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype))
    with torch.no_grad():
        change(module)
    module.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def louder(module):
    """Logits of 20 to 60, as those of large models are."""
    module.model.norm.weight.mul_(12)


@pytest.fixture(scope="module", params=SHORT)
def loud(request, tmp_path_factory, tokenizer_folder):
    """A model with large logits, in a shorter type: its folder and itself."""
    first, folder = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("loud")
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA)).save_pretrained(first)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(first)
    saved(first, folder, request.param, louder)
    return folder, load(folder, device="cpu", dtype=request.param, threads=1)


def plain_scores(lm, folder, pairs, vectors, conditions):
    """Scores [pair, 1 + condition, 2]: full passes of one row, the last residual in float32."""
    found = np.zeros((len(pairs), 1 + len(conditions), 2))
    for i, pair in enumerate(pairs):
        for side, answer in enumerate((pair.matching, pair.other)):
            for c, condition in enumerate([None, *conditions]):
                ids, start = pair.text + answer, len(pair.text) - 1
                changes = steering(lm, condition, vectors, len(ids), start) if condition else {}
                _, residual = plain.forward(lm, ids, changes)
                logprobs = reference(folder, residual[-1]).double().log_softmax(-1)
                found[i, c, side] = sum(
                    logprobs[start + place, token].item() for place, token in enumerate(answer)
                )
    return found


def steering(lm, condition, vectors, length, start):
    """`plain.steering` in the model's type."""
    changes = plain.steering(condition, vectors, length, start)
    where = (torch.arange(length) >= start).to(lm.dtype)[:, None] * condition.multiplier
    vector = torch.tensor(np.asarray(vectors[condition.direction])).to(lm.dtype)
    return {layer: lambda h, layer=layer: h + where * vector[layer] for layer in changes}


# what the residual stream's own rounding, at other places with a prefix, moves these scores by
ROUNDING = {"bfloat16": 0.15, "float16": 0.03}


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_are_those_of_the_short_residual_read_in_float32(load_short, name, dtype):
    folder, lm = load_short(name, dtype)
    pairs, vectors = make_pairs(lm, "answers", 2), make_vectors(lm)
    conditions = make_conditions()
    unsteered, steered = score(lm, pairs, vectors, conditions, budget=512)
    ours = np.concatenate([unsteered[:, None], steered], axis=1)
    theirs = plain_scores(lm, folder, pairs, vectors, conditions)
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING[dtype])


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_same_residual_gives_the_same_logits_as_transformers_in_float32(
    load_short, name, dtype
):
    folder, lm = load_short(name, dtype)
    (pair,) = make_pairs(lm, "answers", 1)
    ids = torch.tensor([pair.text])
    _, ours = forward(
        lm, ids, torch.ones_like(ids), empty_prefix(lm, 1).cache, logits=lambda x: x[:, :]
    )
    own, residual = plain.forward(lm, pair.text)
    theirs = reference(folder, residual[-1])
    assert ours.dtype == torch.float32
    assert (own.float() - theirs).abs().max() > 1e-3
    torch.testing.assert_close(ours[0], theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_in_float32_the_logits_are_the_models_own_and_the_readouts_are_equal(load_tiny, name):
    lm = load_tiny(name)
    assert lm.readout is None
    module = lm.nn._module
    made = unembed.readout_of(
        module.get_submodule(lm.where.final_norm),
        module.get_submodule(lm.where.unembedding),
        module.config,
    )
    own, residual = plain.forward(lm, [5, 6, 7, 8, 9])
    assert torch.equal(made(residual[-1][None])[0], own)


@pytest.mark.parametrize(
    "config",
    [
        GraniteConfig(**LLAMA, logits_scaling=7.0),
        CohereConfig(**LLAMA, logit_scale=0.3),
        Gemma2Config(**LLAMA, head_dim=8, query_pre_attn_scalar=8, final_logit_softcapping=0.7),
    ],
    ids=lambda config: config.model_type,
)
def test_what_a_family_does_after_the_unembedding_is_done(config):
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config).eval()
    seen = []
    module.model.layers[-1].register_forward_hook(lambda _, args, out: seen.append(out))
    own = module(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    made = unembed.readout_of(module.model.norm, module.lm_head, config)
    assert torch.equal(made(seen[0]), own)
    assert not torch.equal(module.lm_head(module.model.norm(seen[0])), own)


def test_logits_that_are_more_than_unembedded_are_refused_when_a_model_is_loaded(
    tmp_path, tokenizer_folder, monkeypatch
):
    torch.manual_seed(0)
    config = configurations()["gemma2"]
    config.final_logit_softcapping = 0.5
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(tmp_path)
    load(tmp_path, device="cpu", dtype="bfloat16", threads=1)
    # a family that does something else to them
    monkeypatch.setattr(unembed, "after_unembedding", lambda config: lambda logits: logits)
    with pytest.raises(UserError, match="its logits are not what final norm and unembedding give"):
        load(tmp_path, device="cpu", dtype="bfloat16", threads=1)


def test_the_error_of_the_logits_own_grid_is_gone(loud):
    folder, lm = loud
    grid = 0.05 if lm.dtype == torch.bfloat16 else 0.005
    worst = 0.0
    for pair in make_pairs(lm, "answers", 6):
        ids = torch.tensor([pair.text])
        _, ours = forward(
            lm,
            ids,
            torch.ones_like(ids),
            empty_prefix(lm, 1).cache,
            logits=lambda x: x[:, -1].double().log_softmax(-1),
        )
        own, residual = plain.forward(lm, pair.text)
        assert 15 < own.abs().max() < 80
        right = reference(folder, residual[-1][-1]).double().log_softmax(-1)
        worst = max(worst, float((own[-1].double().log_softmax(-1) - right).abs().max()))
        assert (ours[0] - right).abs().max() < 1e-3
    assert worst > grid


def test_samples_are_drawn_from_float32_logits(loud, monkeypatch):
    folder, lm = loud
    drawn, residuals, draw, readout = [], [], generate.draw, lm.readout

    def read(residual):
        residuals.append(residual.clone())
        return readout(residual)

    def seen(logits, *options):
        drawn.append(logits.clone())
        return draw(logits, *options)

    monkeypatch.setitem(lm._shared, "readout", read)
    monkeypatch.setattr(generate, "draw", seen)
    monkeypatch.setattr(generate, "FEW", 64)  # one draw a step
    pairs = make_pairs(lm, "answers", 6)
    requests = [Request(pair.text, None, (1, pair.id)) for pair in pairs]
    alone = [sample_sequences(lm, [one], {}, Decoding(1, 1.0, 1.0, 512))[0] for one in requests]
    for number, (token,) in enumerate(alone):
        logits, residual = drawn[number][:1], residuals[number][:1]
        _, theirs = plain.forward(lm, pairs[number].text)
        torch.testing.assert_close(residual[0], theirs[-1, -1], atol=0.1, rtol=0.05)
        right = reference(folder, residual)
        torch.testing.assert_close(logits, right, atol=1e-4, rtol=1e-5)
        # off the grid of the model's own logits
        assert not torch.equal(logits, logits.to(lm.dtype).float())
        uniform = torch.tensor(generate.stream(*requests[number].stream).random(1))
        assert token == int(draw(right, torch.tensor([0]), uniform, 1.0, 1.0)[0])


@pytest.mark.parametrize("loud", ["bfloat16"], indirect=True)
def test_greedy_decoding_takes_the_largest_logit_of_those_that_are_equal_on_the_grid(loud):
    folder, lm = loud
    generator, told_apart = np.random.default_rng(0), 0
    for _ in range(60):
        ids = generator.integers(3, 600, 9).tolist()
        own, residual = plain.forward(lm, ids)
        right = reference(folder, residual[-1][-1])
        best = int(right.argmax())
        if int(own[-1].argmax()) != best:
            told_apart += complete(lm, [Request(ids, None, None)], {}, Decoding(1, 1, 1, 512)) == [
                [best]
            ]
    assert told_apart


@pytest.mark.parametrize("dtype", SHORT)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_short_types_give_the_same_bytes_in_any_batch_on_a_cpu(load_short, name, dtype):
    _, lm = load_short(name, dtype)
    pairs, vectors = make_pairs(lm, "answers", 5), make_vectors(lm)
    conditions = make_conditions()
    at = [score(lm, pairs, vectors, conditions, budget=budget) for budget in (1, 100, 4000)]
    for other in at[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(at[0], other, strict=True))


@pytest.mark.parametrize("dtype", SHORT)
def test_the_other_readers_of_logits_get_float32_too(load_short, dtype):
    folder, lm = load_short("llama", dtype)
    lm = replace(lm, context=None)
    prompts = [tuple(pair.text) for pair in make_pairs(lm, "answers", 4)]
    ablations = [Ablation(prompt, "heads", 2, 1, 77) for prompt in prompts]
    question = Question("q", list(prompts[0]), [8, 9], [10], [11, 12])
    chain = [Chain(0, (13, 14), 0.0, 0.0)]
    judge = LocalJudge(lm, max_new_tokens=4, budget=512, section="judge")
    judged = judgement("when the day is good", "it is a good day")

    def read():
        chained = score_chains(lm, [question], chain, np.ones((4, 32)), (1,), 512)
        after = [*question.prompt, 13, 14, *question.bridge]
        return [
            (ablate(lm, ablations, budget=512).logprob, [logprob(p, [77]) for p in prompts]),
            (chained[0], [logprob(after, question.matching), logprob(after, question.other)]),
            (
                judge.differences([judged.question], judged.baseline),
                [difference(judged.question) - difference(judged.baseline)],
            ),
        ]

    def logprob(text, answer):
        _, residual = plain.forward(lm, [*text, *answer])
        logprobs = reference(folder, residual[-1]).double().log_softmax(-1)
        return sum(logprobs[len(text) - 1 + n, token].item() for n, token in enumerate(answer))

    def difference(asked):
        choice = judge._choice(asked)
        return logprob(choice.text, choice.matching) - logprob(choice.text, choice.other)

    for ours, right in read():
        np.testing.assert_allclose(ours, right, atol=ROUNDING[dtype])
    # and not what the model's own logits give
    own = replace(lm, _shared={**lm._shared, "readout": None})
    effects = [ablate(one, ablations, budget=512) for one in (lm, own)]
    for name in ("logprob", "ablated_logprob"):
        first, second = (getattr(one, name) for one in effects)
        assert not np.array_equal(first, second)
        assert np.abs(first - second).max() > 1e-4
