"""The lookups study of many families equals the plain way, or is refused with its reason.

Tiny models with wide random weights, biases and gains, so that what is left out shows.
"""

from dataclasses import dataclass

import numpy as np
import plain_lookups as plain
import pytest
import torch

from steerpaper.engine.batching import empty_prefix
from steerpaper.engine.finding import find
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.how import How
from steerpaper.engine.identities import check_parts
from steerpaper.engine.model import wrap
from steerpaper.engine.weights import is_parallel
from steerpaper.errors import UserError
from steerpaper.lookups.ablations import Ablation, ablate
from steerpaper.lookups.attribution import head_attribution
from steerpaper.lookups.neurons import model_congruence
from steerpaper.lookups.truncation import last_activations

IDS = {"vocab_size": 600, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES = {
    **IDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
SHARED = {**SIZES, "num_key_value_heads": 2}
WIDE = {**SHARED, "head_dim": 8}
GPT = {
    **IDS,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 256,
    "initializer_range": 0.2,
}
FALCON = {key: SIZES[key] for key in (*IDS, "hidden_size", "num_hidden_layers")} | {
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}
OPT = {
    **IDS,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "init_std": 0.2,
}
NEO = {
    **IDS,
    "hidden_size": 32,
    "num_layers": 4,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 2]],
    "window_size": 12,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
BLOOM = {**IDS, "hidden_size": 32, "n_layer": 4, "n_head": 4, "initializer_range": 0.2}
MPT = {
    **IDS,
    "d_model": 32,
    "n_heads": 4,
    "n_layers": 4,
    "expansion_ratio": 2,
    "max_seq_len": 256,
    "initializer_range": 0.2,
}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
}
GRANITE = {
    "residual_multiplier": 0.3,
    "logits_scaling": 2.0,
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.2,
}


@dataclass(frozen=True)
class Family:
    """A configuration, and what its blocks are like.

    Attributes:
        kind: the configuration's class in transformers, without "Config".
        parallel: the MLP does not read the block's heads.
        behind: norms stand behind heads and neurons.
    """

    kind: str
    keys: dict
    parallel: bool = False
    behind: bool = False


FAMILIES = {
    "llama with biases": Family("Llama", {**SHARED, "attention_bias": True, "mlp_bias": True}),
    "gemma": Family("Gemma", WIDE),
    "gemma2": Family("Gemma2", {**WIDE, "sliding_window": 12}, behind=True),
    "gemma3_text": Family("Gemma3Text", {**WIDE, "sliding_window": 12}, behind=True),
    "olmo": Family("Olmo", {**SHARED, "clip_qkv": 2.0}),
    "olmo2": Family("Olmo2", SHARED, behind=True),
    "olmo3": Family("Olmo3", {**SHARED, "sliding_window": 12}, behind=True),
    "phi": Family("Phi", {**SHARED, "qk_layernorm": True}, parallel=True),
    "phi3": Family("Phi3", SHARED),
    "cohere": Family("Cohere", {**SHARED, "use_qk_norm": True}, parallel=True),
    "cohere2": Family("Cohere2", {**WIDE, "sliding_window": 12}, parallel=True),
    "gptj": Family("GPTJ", {**GPT, "rotary_dim": 4}, parallel=True),
    "codegen": Family("CodeGen", {**GPT, "rotary_dim": 4}, parallel=True),
    "gpt_neo": Family("GPTNeo", NEO),
    "gpt_neox, sequential": Family("GPTNeoX", {**SIZES, "use_parallel_residual": False}),
    "falcon": Family("Falcon", {**FALCON, "bias": True}, parallel=True),
    "falcon, sequential": Family("Falcon", {**FALCON, "parallel_attn": False, "alibi": True}),
    "falcon, two norms": Family(
        "Falcon", {**FALCON, "num_kv_heads": 2, "new_decoder_architecture": True}, parallel=True
    ),
    "bloom": Family("Bloom", BLOOM),
    "mpt": Family("Mpt", MPT),
    "opt": Family("OPT", OPT),
    "stablelm": Family("StableLm", {**SHARED, "use_qkv_bias": True, "qk_layernorm": True}),
    "stablelm, parallel": Family(
        "StableLm", {**SHARED, "use_parallel_residual": True}, parallel=True
    ),
    "granite": Family("Granite", {**SHARED, **GRANITE}),
    "minicpm3": Family("MiniCPM3", {**SIZES, **LATENT}),
    "starcoder2": Family("Starcoder2", {**SHARED, "sliding_window": 12}),
    "glm": Family("Glm", WIDE),
    "glm4": Family("Glm4", WIDE, behind=True),
    "nemotron": Family("Nemotron", SHARED),
    "exaone4": Family("Exaone4", {**SHARED, "sliding_window": 12}, behind=True),
    "gpt_bigcode": Family("GPTBigCode", GPT),
    "qwen3": Family("Qwen3", WIDE),
    "smollm3": Family("SmolLM3", SHARED),
}

REFUSED = {
    "mixtral": (Family("Mixtral", SHARED), "block 0 shares its tokens out among experts"),
    "qwen2_moe": (
        Family(
            "Qwen2Moe",
            {
                **SHARED,
                "num_experts": 4,
                "moe_intermediate_size": 32,
                "shared_expert_intermediate_size": 32,
            },
        ),
        "block 0 shares its tokens out among experts",
    ),
    "gpt_oss": (
        Family("GptOss", {**WIDE, "num_local_experts": 4, "num_experts_per_tok": 2}),
        "block 0 shares its tokens out among experts",
    ),
    "a norm of the residual stream itself": (
        Family("OPT", {**OPT, "do_layer_norm_before": False}),
        "in block 0 it does not hold that the block's output is",
    ),
    "a residual stream that is a norm's output": (
        Family("Bloom", {**BLOOM, "apply_residual_connection_post_layernorm": True}),
        "in block 0 it does not hold that",
    ),
    "heads of differences": (Family("DiffLlama", SHARED), "neighbors attend alike"),
    "mamba": (
        Family("Mamba", {**IDS, "hidden_size": 32, "num_hidden_layers": 2}),
        "block 0 has no projection out of its attention .* it has norm, mixer",
    ),
}


@pytest.fixture(scope="module")
def make(tokenizer_folder):
    """Make a family's model, once. That it runs so is proved by `engine.proof`, not here."""
    import transformers

    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_folder)
    made = {}

    def make_once(name):
        if name not in made:
            torch.manual_seed(0)
            family = FAMILIES[name] if name in FAMILIES else REFUSED[name][0]
            config = getattr(transformers, f"{family.kind}Config")(**family.keys)
            module = transformers.AutoModelForCausalLM.from_config(config)
            module.eval().requires_grad_(False)
            for weight in module.parameters():
                if weight.dim() == 1:  # biases, gains
                    weight.add_(0.3 * torch.randn_like(weight))
            with torch.no_grad():
                made[name] = wrap(module, tokenizer, find(module, name), How(), name)
        return made[name]

    return make_once


@pytest.fixture(params=FAMILIES)
def lm(request, make):
    return make(request.param)


def prompts():
    generator = np.random.default_rng(5)
    return [generator.integers(3, 600, size=length).tolist() for length in (1, 9, 30)]


NEURONS = [2, 40, 2]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_block_is_the_sum_of_its_heads_and_neurons(make, name):
    lm, family = make(name), FAMILIES[name]
    check_parts(lm)
    assert is_parallel(lm) == plain.parallel(lm) == family.parallel
    assert bool(lm.parts.heads_norm) == bool(lm.parts.neurons_norm) == family.behind


def test_attribution_is_what_the_neuron_reads_less_without_the_head(lm):
    layer, rows = 2, prompts()
    ours, scales = head_attribution(lm, layer, NEURONS, rows, bos=True, budget=100)
    theirs = np.array(
        [
            plain.attribution(lm, layer, neuron, ids, True)
            for neuron, ids in zip(NEURONS, rows, strict=True)
        ]
    )
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4 * np.abs(theirs).max())
    assert (scales is not None) == bool(lm.parts.heads_norm)


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].behind])
def test_the_scale_that_is_reported_is_that_of_the_norm_behind_the_heads(make, name):
    lm, rows = make(name), prompts()
    _, scales = head_attribution(lm, 2, NEURONS, rows, bos=True, budget=100)
    for number, ids in enumerate(rows):
        for block in range(3):
            place = block, lm.parts.heads_norm
            given, returned = (x[-1] for x in plain.watch(lm, [1, *ids], [place])[place])
            one = plain.frozen(lm.blocks[block]._module, lm.parts.heads_norm, given)(given)
            torch.testing.assert_close(one.float(), returned, rtol=1e-3, atol=1e-4)
            expected = given.square().mean().rsqrt().item()
            assert scales[number, block] == pytest.approx(expected, rel=1e-3)


def test_congruence_is_what_a_neuron_adds_to_the_logits(lm):
    best = model_congruence(lm, [1, 3])
    for layer in (1, 3):
        for neuron in (0, 5, 33):
            token, congruence = plain.best_token(lm, layer, neuron)
            assert best.token[layer][neuron] == token
            assert best.congruence[layer][neuron] == pytest.approx(congruence, rel=1e-3)


def test_activations_are_what_goes_into_the_output_projection(lm):
    rows, neurons = prompts(), [(3, 1), (1, 63), (3, 4)]
    ours = last_activations(lm, neurons, rows, bos=False, budget=50)
    theirs = [
        plain.activations(lm, row, layer)[-1, neuron].item()
        for row, (layer, neuron) in zip(rows, neurons, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_ablation_equals_a_hook_on_the_output_projection(lm):
    units = {"heads": 4, "neurons": 0}
    units["neurons"] = plain.out_of(lm.blocks[0]._module, lm.parts.mlp_out)
    chosen = [("heads", 0, 1), ("heads", 2, 3), ("neurons", 2, 7)]
    ablations = [Ablation(tuple(prompts()[1]), *unit, 20) for unit in chosen]
    ours = ablate(lm, ablations, budget=64)
    theirs = np.array([plain.ablation(lm, one, units[one.site]) for one in ablations])
    found = np.column_stack([ours.logprob, ours.ablated_logprob, ours.activation])
    np.testing.assert_allclose(found, theirs, rtol=1e-3, atol=1e-3)
    assert np.abs(ours.logprob - ours.ablated_logprob).max() > 1e-3


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_apart_is_refused_and_can_be_steered(make, name):
    lm = make(name)
    with pytest.raises(UserError, match=REFUSED[name][1]) as refused:
        check_parts(lm)
    assert "Steering does not need them" in str(refused.value)
    if name == "mamba":  # takes no cache that a pass could be given
        return
    ids = torch.tensor([[5, 6, 7]])
    got, _ = forward(
        lm,
        ids,
        torch.ones_like(ids),
        empty_prefix(lm, 1).cache,
        edits={(0, RESIDUAL): lambda x: x + 1},
        reads={(1, RESIDUAL): torch.clone},
    )
    assert got[1, RESIDUAL].isfinite().all()
