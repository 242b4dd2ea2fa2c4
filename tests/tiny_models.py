"""Tiny random models of several architectures, with a tokenizer trained on the project's text."""

import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHAT = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SIZES = {"vocab_size": 600, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {
    **SIZES,
    "hidden_size": 32,
    "intermediate_size": 64,  # a multiple of 32, as all models have it (see engine.batching)
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}


def configurations():
    """One configuration an architecture: wide initialisation, so that differences show."""
    import transformers as t

    gpt2 = {**SIZES, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 256}
    neox = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    return {
        "llama": t.LlamaConfig(**LLAMA, tie_word_embeddings=True),
        "gpt2": t.GPT2Config(**gpt2, initializer_range=0.2),
        "gpt_neox": t.GPTNeoXConfig(**neox, use_parallel_residual=True),
        "mistral": t.MistralConfig(**LLAMA, sliding_window=12),
        "qwen2": t.Qwen2Config(**LLAMA),
        "gemma2": t.Gemma2Config(**LLAMA, head_dim=8, sliding_window=12, query_pre_attn_scalar=8),
    }


def make_tokenizer(folder):
    """Save a byte-level BPE tokenizer of 600 tokens, trained on one behaviour's items."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    lines = (ROOT / "data/behaviors/optimism.jsonl").read_text().splitlines()
    texts = [text for line in lines for text in json.loads(line).values()]
    trained = ByteLevelBPETokenizer()
    special = ["<|pad|>", "<|start|>", "<|end|>"]
    trained.train_from_iterator(texts, vocab_size=600, special_tokens=special)
    PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        pad_token="<|pad|>",
        bos_token="<|start|>",
        eos_token="<|end|>",
        chat_template=CHAT,
    ).save_pretrained(folder)
    return folder


def make_model(folder, name, tokenizer_folder):
    """Save a random model of an architecture, with a tokenizer, in Hugging Face format."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(configurations()[name]).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    return folder


def name_model(folder):
    """Write what jobs know a tiny model by: a manifest, and what rule `engine` makes of it."""
    from steerpaper.engine.proof import engine_file, load

    (folder / "manifest.json").write_text(json.dumps({"name": "tiny", "revision": "0"}))
    lm = load(folder, device="cpu", dtype="float32", threads=1)
    (folder / "engine.json").write_text(json.dumps(engine_file(lm, ".")))
    return folder
