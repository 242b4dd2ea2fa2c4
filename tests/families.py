"""Tiny configurations of many families of decoders: what must be found, proved and steered.

Each is a family with what sets it apart: windows, shared heads, biases, scaled positions, experts,
state. Wide initialisation, so that differences show.
"""

from tiny_models import LLAMA, SIZES

# heads that share no keys and values
ALONE = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
GPT2 = {
    **SIZES,
    "n_embd": 32,
    "n_layer": 4,
    "n_head": 4,
    "n_positions": 256,
    "initializer_range": 0.2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
}
# keys and values through a narrow space
LATENT = {
    "num_key_value_heads": 4,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_shared_experts": 1,
}
WINDOW = {"sliding_window": 12}


def rope(kind, **more):
    """Rotary positions of a kind, with an original length of 64."""
    return {
        "rope_parameters": {
            "rope_type": kind,
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
            **more,
        }
    }


# name -> (class of the configuration, its values)
FAMILIES = {
    "llama": ("LlamaConfig", {**LLAMA, "tie_word_embeddings": True}),
    "llama with biases": ("LlamaConfig", {**LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama without shared heads": ("LlamaConfig", ALONE),
    "llama, one key head": ("LlamaConfig", {**LLAMA, "num_key_value_heads": 1}),
    "llama, linear positions": ("LlamaConfig", {**LLAMA, **rope("linear")}),
    "llama, yarn": ("LlamaConfig", {**LLAMA, **rope("yarn")}),
    "llama 3 positions": (
        "LlamaConfig",
        {**LLAMA, **rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0)},
    ),
    "llama, dynamic positions": (
        "LlamaConfig",
        {**LLAMA, "max_position_embeddings": 256, **rope("dynamic")},
    ),
    "mistral": ("MistralConfig", {**LLAMA, "sliding_window": None}),
    "mistral with a window": ("MistralConfig", {**LLAMA, **WINDOW}),
    "ministral": ("MinistralConfig", {**LLAMA, **WINDOW, "head_dim": 8}),
    "ministral3": ("Ministral3Config", {**LLAMA, "head_dim": 8}),
    "mixtral": ("MixtralConfig", {**LLAMA, "num_local_experts": 4}),
    "qwen2": ("Qwen2Config", LLAMA),
    "qwen2 with a window": (
        "Qwen2Config",
        {**LLAMA, **WINDOW, "use_sliding_window": True, "max_window_layers": 2},
    ),
    "qwen2_moe": (
        "Qwen2MoeConfig",
        {**LLAMA, **EXPERTS, "shared_expert_intermediate_size": 32},
    ),
    "qwen3": ("Qwen3Config", {**LLAMA, "head_dim": 8}),
    "qwen3_moe": ("Qwen3MoeConfig", {**LLAMA, **EXPERTS, "head_dim": 8}),
    "gemma": ("GemmaConfig", {**LLAMA, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**LLAMA, **WINDOW, "head_dim": 8, "query_pre_attn_scalar": 8}),
    "gemma3_text": (
        "Gemma3TextConfig",
        {**LLAMA, **WINDOW, "head_dim": 8, "query_pre_attn_scalar": 8},
    ),
    "gemma3, with pictures": (
        "Gemma3Config",
        {
            "text_config": {**LLAMA, **WINDOW, "head_dim": 8, "query_pre_attn_scalar": 8},
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "image_size": 28,
                "patch_size": 14,
            },
        },
    ),
    "gemma4_text": (
        "Gemma4TextConfig",
        {
            **LLAMA,
            **WINDOW,
            "head_dim": 8,
            "global_head_dim": 8,
            "hidden_size_per_layer_input": 0,
            "num_kv_shared_layers": 0,
        },
    ),
    "phi": ("PhiConfig", {**ALONE, "partial_rotary_factor": 0.5}),
    "phi3": ("Phi3Config", LLAMA),
    "phi3 with a window": ("Phi3Config", {**LLAMA, **WINDOW}),
    "phimoe": ("PhimoeConfig", {**LLAMA, "num_local_experts": 4}),
    "olmo": ("OlmoConfig", LLAMA),
    "olmo with clipping": ("OlmoConfig", {**LLAMA, "clip_qkv": 1.0}),
    "olmo2": ("Olmo2Config", LLAMA),
    "olmo3": ("Olmo3Config", {**LLAMA, **WINDOW}),
    "olmoe": ("OlmoeConfig", {**LLAMA, "num_experts": 4, "num_experts_per_tok": 2}),
    "opt": (
        "OPTConfig",
        {**ALONE, "ffn_dim": 64, "word_embed_proj_dim": 32},
    ),
    "opt, norms after": (
        "OPTConfig",
        {**ALONE, "ffn_dim": 64, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "stablelm": ("StableLmConfig", {**LLAMA, "partial_rotary_factor": 0.5}),
    "stablelm, parallel": (
        "StableLmConfig",
        {**LLAMA, "partial_rotary_factor": 0.5, "use_parallel_residual": True},
    ),
    "granite": (
        "GraniteConfig",
        {
            **LLAMA,
            "residual_multiplier": 0.5,
            "embedding_multiplier": 2.0,
            "attention_multiplier": 0.3,
            "logits_scaling": 2.0,
        },
    ),
    "granitemoe": (
        "GraniteMoeConfig",
        {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2, "residual_multiplier": 0.5},
    ),
    "cohere": ("CohereConfig", {**LLAMA, "logit_scale": 0.5}),
    "cohere, norms of queries": ("CohereConfig", {**LLAMA, "use_qk_norm": True}),
    "cohere2": ("Cohere2Config", {**LLAMA, **WINDOW}),
    "starcoder2": ("Starcoder2Config", LLAMA),
    "starcoder2 with a window": ("Starcoder2Config", {**LLAMA, **WINDOW}),
    "gpt_oss": (
        "GptOssConfig",
        {**LLAMA, **WINDOW, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "glm": ("GlmConfig", {**LLAMA, "head_dim": 8}),
    "glm4": ("Glm4Config", {**LLAMA, "head_dim": 8}),
    "nemotron": ("NemotronConfig", LLAMA),
    "exaone4": ("Exaone4Config", {**LLAMA, **WINDOW, "sliding_window_pattern": 2}),
    "smollm3": ("SmolLM3Config", LLAMA),
    "gpt2": ("GPT2Config", GPT2),
    "gpt2, scaled by block": ("GPT2Config", {**GPT2, "scale_attn_by_inverse_layer_idx": True}),
    "gpt_neo": (
        "GPTNeoConfig",
        {
            **SIZES,
            "hidden_size": 32,
            "num_layers": 4,
            "num_heads": 4,
            "max_position_embeddings": 256,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 12,
            "initializer_range": 0.2,
        },
    ),
    "gpt_neox": ("GPTNeoXConfig", {**ALONE, "use_parallel_residual": True}),
    "gpt_neox, sequential": ("GPTNeoXConfig", {**ALONE, "use_parallel_residual": False}),
    "gptj": ("GPTJConfig", {**GPT2, "rotary_dim": 4}),
    "codegen": ("CodeGenConfig", {**GPT2, "rotary_dim": 4}),
    "gpt_bigcode": ("GPTBigCodeConfig", GPT2),
    "falcon": (
        "FalconConfig",
        {
            **{key: value for key, value in ALONE.items() if key != "intermediate_size"},
            "new_decoder_architecture": False,
            "alibi": False,
        },
    ),
    "falcon, new": (
        "FalconConfig",
        {
            **{key: value for key, value in ALONE.items() if key != "intermediate_size"},
            "new_decoder_architecture": True,
            "num_kv_heads": 2,
            "alibi": False,
        },
    ),
    "falcon, alibi": (
        "FalconConfig",
        {
            **{key: value for key, value in ALONE.items() if key != "intermediate_size"},
            "alibi": True,
        },
    ),
    "bloom": (
        "BloomConfig",
        {**SIZES, "hidden_size": 32, "n_layer": 4, "n_head": 4, "initializer_range": 0.2},
    ),
    "mpt": (
        "MptConfig",
        {
            **SIZES,
            "d_model": 32,
            "n_layers": 4,
            "n_heads": 4,
            "expansion_ratio": 2,
            "max_seq_len": 256,
            "initializer_range": 0.2,
        },
    ),
    "glm4_moe": (
        "Glm4MoeConfig",
        {**LLAMA, **ROUTED, "head_dim": 8, "first_k_dense_replace": 1},
    ),
    "dots1": ("Dots1Config", {**LLAMA, **ROUTED, "n_shared_experts": 1}),
    "ernie4_5_moe": (
        "Ernie4_5_MoeConfig",
        {**LLAMA, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 32},
    ),
    "diffllama": ("DiffLlamaConfig", LLAMA),
    "bitnet": ("BitNetConfig", LLAMA),
    "nanochat": ("NanoChatConfig", LLAMA),
    "modernbert_decoder": ("ModernBertDecoderConfig", {**LLAMA, "local_attention": 16}),
    "persimmon": ("PersimmonConfig", ALONE),
    "seed_oss": ("SeedOssConfig", {**LLAMA, "head_dim": 8}),
    "helium": ("HeliumConfig", {**LLAMA, "head_dim": 8}),
    "apertus": ("ApertusConfig", LLAMA),
    "arcee": ("ArceeConfig", LLAMA),
    "xglm": (
        "XGLMConfig",
        {
            **SIZES,
            "d_model": 32,
            "num_layers": 4,
            "attention_heads": 4,
            "ffn_dim": 64,
            "max_position_embeddings": 256,
            "init_std": 0.2,
        },
    ),
    "biogpt": ("BioGptConfig", ALONE),
    "ernie4_5": ("Ernie4_5Config", {**LLAMA, "head_dim": 8}),
    "hunyuan": ("HunYuanDenseV1Config", {**LLAMA, "head_dim": 8}),
    "deepseek_v2": (
        "DeepseekV2Config",
        {**ALONE, **ROUTED, **LATENT},
    ),
    "deepseek_v3": (
        "DeepseekV3Config",
        {**ALONE, **ROUTED, **LATENT},
    ),
    "llama4": (
        "Llama4TextConfig",
        {
            **LLAMA,
            "head_dim": 8,
            "attention_chunk_size": 12,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "intermediate_size_mlp": 64,
            "interleave_moe_layer_step": 2,
        },
    ),
    "phi3, long positions": (
        "Phi3Config",
        {
            **LLAMA,
            "original_max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0] * 4,
                "long_factor": [2.0] * 4,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "mamba": (
        "MambaConfig",
        {**SIZES, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 8},
    ),
    "mamba2": (
        "Mamba2Config",
        {
            **SIZES,
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "state_size": 8,
            "num_heads": 8,
            "head_dim": 8,
            "n_groups": 1,
            # shorter than the texts: a state goes from one to the next
            "chunk_size": 16,
        },
    ),
    "qwen3_next": (
        "Qwen3NextConfig",
        {
            **LLAMA,
            **EXPERTS,
            "head_dim": 8,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "shared_expert_intermediate_size": 32,
            "layer_types": ["linear_attention", "full_attention"] * 2,
        },
    ),
    "recurrent_gemma": (
        "RecurrentGemmaConfig",
        {**LLAMA, "lru_width": 32, "attention_window_size": 12, "num_hidden_layers": 3},
    ),
    "lfm2": ("Lfm2Config", {**LLAMA, "layer_types": ["conv", "full_attention"] * 2}),
}

# what cannot be steered or read, and why
REFUSED = {
    "openai-gpt": ("OpenAIGPTConfig", GPT2, "block 0 returns list, expected a residual stream"),
    "gemma3n_text": (
        "Gemma3nTextConfig",
        {
            **LLAMA,
            **WINDOW,
            "head_dim": 8,
            "laurel_rank": 8,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 600,
            "num_kv_shared_layers": 0,
            "layer_types": ["full_attention"] * 4,
            "activation_sparsity_pattern": [0.0] * 4,
        },
        r"block 0 returns \(4, 1, 2, 32\), expected a residual stream",
    ),
}


def configuration(name):
    """The configuration of one family."""
    import transformers

    kind, values, *_ = FAMILIES.get(name) or REFUSED[name]
    return getattr(transformers, kind)(**values)


def make_family(folder, name, tokenizer_folder):
    """Save a random model of a family, biases and gains random too, with a tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configuration(name))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight += 0.2 * torch.randn_like(weight)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    return folder
