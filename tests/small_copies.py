"""Small copies of the studies that come with the workflow: what is small in them, the rest as is.

A copy is the study's configuration with the keys of `SMALL` and `HERE` changed. Its model is a tiny
random one of the same architecture, with as many blocks, as many heads where the study is about
heads, narrow ones, and a tokenizer of the same kind; its data is a few documents in the data set's
own form. What the hub has comes from a local server in its place, at the same names and commits;
what lies at an address or in a repository from an address of that server, with the small file's
digest. An endpoint is a local server that answers. A model from a package is one from a folder.
"""

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from endpoints import completion
from local_hub import Shelf
from published_templates import LLAMA_2, QWEN_2, byte_level, sentencepiece
from small_data import DATA_SETS, own_items, small_file
from snakemake.utils import update_config
from tiny_models import CHAT, ROOT, configurations

from steerpaper.workflow.config import bases_of, check_file
from steerpaper.workflow.places import data_sources

Config = dict[str, Any]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))

# the parts of the steering study that run on some of its behaviours
PARTS = ["reasoning", "system_prompts", "cost", "convergence", "projection", "fixed_completions"]
PARTS += ["compare_estimators", "transfer"]
# what is shrunk, by a study's name, the first that fits before those that follow
SMALL: dict[str, Config] = {
    "*": {"statistics": {"resamples": 200}},
    "neo-2024-*": {
        "lookups": {
            "corpus": {"train": 30, "test": 30, "shards": 1},
            "neurons": {"next_token": 2},
            "top": 5,
            "heads": {"per_neuron": 2},
        }
    },
    "neo-2024-gpt2-large": {"lookups": {"neurons": {"next_token": 1, "random": 1}}},
    "caa-2023-*": {
        "steering": {
            "completions": {"questions": 1, "multipliers": [-1, 0, 1], "max_new_tokens": 4},
            # those that the paper printed
            "dose_response": {"multipliers": [-1, 1]},
            "system_prompts": {"multipliers": [-1, 1]},
            "benchmarks": {"multipliers": [-1, 1], "random": {"directions": 1}},
        },
    },
    "caa-2023-llama-2-7b": {"steering": {"behaviors": ["sycophancy"]}},
    # TruthfulQA was asked under sycophancy alone
    "caa-2023-llama-2-13b": {
        "steering": {"behaviors": ["refusal"], "benchmarks": {"sets": {"truthfulqa": None}}}
    },
    "tan-2024": {
        "steering": {
            # a persona's statements, and items with letters of their own
            "behaviors": ["narcissism", "corrigible-neutral-HHH"],
            "prompt_kinds": {"train": 4, "prompts": 2, "multipliers": [-1, 1]},
        },
    },
    "demo": {
        "steering": {
            "prompts": {"split": {"train": 6, "dev": 6, "test": 6}},
            "completions": {"questions": 1, "max_new_tokens": 4},
            "dose_response": {
                "random": {"directions": 2},
                "shuffled": {"directions": 2},
            },
        },
    },
    "all-behaviors": {
        # its parts are the default study's, which other tests run small
        "studies": ["steering"],
        "steering": {
            **{name: {"behaviors": 0} for name in PARTS},
            "behaviors": ["warmth"],
            "contrasts": ["answers"],
            "prompts": {"split": {"train": 6, "dev": 4, "test": 6}},
            "completions": {"questions": 1, "max_new_tokens": 4},
        },
    },
}
# what this machine has
HERE: Config = {"device": "cpu", "threads": 1}

# by a model's name on the hub: its family, context, blocks, heads, neurons a block (fewer of both
# where the study names none of them)
SHAPES = {
    "openai-community/gpt2": ("gpt2", 1024, 12, 12, 3072),
    "openai-community/gpt2-medium": ("gpt2", 1024, 24, 16, 4096),
    "openai-community/gpt2-large": ("gpt2", 1024, 36, 20, 5120),
    "EleutherAI/pythia-160m": ("gpt_neox", 2048, 12, 12, 3072),
    "EleutherAI/pythia-1.4b": ("gpt_neox", 2048, 24, 16, 512),
    "meta-llama/Llama-2-7b-chat-hf": ("llama", 4096, 32, 4, 64),
    "meta-llama/Llama-2-13b-chat-hf": ("llama", 4096, 40, 4, 64),
    "Qwen/Qwen1.5-14B-Chat": ("qwen2", 32768, 40, 4, 64),
}


def flat(config: Config, path: str = "") -> dict[str, Any]:
    """A configuration's values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= flat(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = value
    return found


def shrunk(study: Path) -> set[str]:
    """The dotted keys that are said to be others in a study's small copy."""
    fitting = [keys for pattern, keys in SMALL.items() if fnmatch.fnmatch(study.stem, pattern)]
    return {key for keys in [*fitting, HERE] for key in flat(keys)}


def merged(study: Path) -> Config:
    """A study's whole configuration: the default, what it extends, and its own keys."""
    config: Config = {}
    for path in (ROOT / "config.yaml", *bases_of(study), study):
        update_config(config, check_file(path))
    config.pop("extends", None)
    return config


def small_copy(study: Path, folder: Path, shelf: Shelf, chat: str) -> Config:
    """The configuration of a study's small copy.

    Args:
        study: its file.
        folder: where its model and data are made, which then are on the shelf.
        chat: the address of a server that answers as an endpoint does.
    """
    config = merged(study)
    for pattern, changes in SMALL.items():
        if fnmatch.fnmatch(study.stem, pattern):
            update_config(config, changes)
    update_config(config, HERE)
    for endpoint in _endpoints(config):
        endpoint["base_url"] = chat
    _shelve_model(config["model"], folder, shelf)
    _shelve_data(config, folder, shelf)
    return config


def environment(folder: Path, shelf: Shelf) -> dict[str, str]:
    """What a run of a copy finds: the shelf in the hub's place, a key, no other network."""
    return {
        **os.environ,
        "HF_ENDPOINT": shelf.at,
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "OPENAI_API_KEY": "none",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def answer(number: int, request: dict[str, Any]) -> tuple[int, str]:
    """What the endpoint answers: Yes or No, a number from 0 to 10, or a sentence, as asked."""
    question = request["messages"][-1]["content"]
    drawn = hashlib.sha256(question.encode()).digest()[0]
    if re.search(r"\bYes\b.*\bNo\b", question):
        return completion("Yes" if drawn % 2 else "No")
    if re.search(r"\b(scale|score|rat(e|ing))\b", question, re.IGNORECASE):
        return completion(str(drawn % 11))
    return completion(f"The head is active when the text is of kind {drawn}.")


def _endpoints(config: Any) -> Iterator[Config]:
    """The sections of a configuration that say how an endpoint is asked."""
    if isinstance(config, dict):
        if "endpoint" in config:
            yield config["endpoint"]
        for below in config.values():
            yield from _endpoints(below)


def _shelve_model(model: Config, folder: Path, shelf: Shelf) -> None:
    """Make a model of the architecture and put it where the study takes its own from."""
    made = folder / "model"
    if model["source"] == "hub":
        wanted = model["hub"]
        make_small_model(made, *SHAPES[wanted["id"]], _tokenizer(wanted["id"]))
        shelf.repositories["models", wanted["id"], wanted["revision"]] = made
    else:
        make_small_model(made, "llama", 2048, 8, 4, 64, _trained("<|im_start|>", CHAT))
        model |= {"source": "path", "path": str(made)}


def make_small_model(folder, family, context, blocks, heads, neurons, tokenizer) -> None:
    """Save a random model of a family with a tokenizer; a head is a few numbers wide."""
    import torch
    from transformers import AutoModelForCausalLM

    sizes = {"vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id}
    sizes |= {"eos_token_id": tokenizer.eos_token_id, "initializer_range": 0.2}
    if family == "gpt2":
        sizes |= {"n_positions": context, "n_layer": blocks, "n_head": heads}
        sizes |= {"n_embd": 4 * heads, "n_inner": neurons}
    else:
        sizes |= {"max_position_embeddings": context, "num_hidden_layers": blocks}
        sizes |= {"num_attention_heads": heads, "num_key_value_heads": heads}
        sizes |= {"hidden_size": 8 * heads, "intermediate_size": neurons}
    config = configurations()[family]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(type(config)(**sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(model: str) -> Any:
    """A tokenizer of a model's kind."""
    if "Llama-2" in model:
        return sentencepiece(LLAMA_2)
    if "Qwen" in model:
        special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
        return byte_level(QWEN_2, special, None, special[2], like_cl100k=True)
    return _trained("<|endoftext|>", None)


def _trained(end: str, template: str | None) -> Any:
    """A byte-level BPE of 1,000 tokens, whose words begin with a space, one control token."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    texts = [text for item in own_items() for text in item.values()]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=1000, special_tokens=[end])
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token=end, eos_token=end, chat_template=template
    )


def _shelve_data(config: Config, folder: Path, shelf: Shelf) -> None:
    """Put small data where the study takes its own from; of files only the digest is another."""
    corpus = config["lookups"]["corpus"]
    if corpus["source"] == "hub":
        _shelve_data_set(corpus["hub"], folder, shelf)
    for _, place, key in data_sources(config):
        source = place[key]
        if isinstance(source, str) or "path" in source:
            continue
        if "hub" in source:
            _shelve_data_set(source["hub"], folder, shelf)
            continue
        # a repository's file is taken from an address: what github.com has, no other server has
        where = source.get("github", {})
        path = "/".join(where[name] for name in ("repo", "commit", "path")) if where else ""
        path = path or re.sub("^https?://", "", source["url"])
        place[key] = {**shelf.put(path, small_file(path)), "licence": source.get("licence", "none")}


def _shelve_data_set(where: Config, folder: Path, shelf: Shelf) -> None:
    """Put a data set of the hub onto the shelf."""
    made = folder / where["id"].replace("/", "--")
    if not made.exists():
        made.mkdir()
        DATA_SETS[where["id"]](made)
    shelf.repositories["datasets", where["id"], where["revision"]] = made
