"""A model folder whose weights do not fit is refused with the tensors' names, and no other is."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import LLAMA

from steerpaper.engine import check
from steerpaper.engine.check import check_folder, weight_files
from steerpaper.engine.proof import load
from steerpaper.errors import UserError

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(model_folders, tmp_path):
    """A copy of a tiny model's folder, to be damaged."""
    copy = tmp_path / "model"
    shutil.copytree(model_folders["qwen2"], copy)
    return copy


def refused(folder, message):
    with pytest.raises(UserError, match=message):
        load(folder, device="cpu", dtype="float32", threads=1)


def rewrite(folder, change):
    """Write the weights again, changed by a function of the mapping."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})


def test_the_model_as_it_was_saved_is_loaded(folder):
    assert load(folder, device="cpu", dtype="float32", threads=1).n_layers == 4


def test_a_missing_tensor_is_named(folder):
    name = "model.layers.2.mlp.up_proj.weight"
    rewrite(folder, lambda tensors: {key: t for key, t in tensors.items() if key != name})
    refused(folder, f"1 tensors are missing in the files \\({name}\\)")


@pytest.mark.parametrize("prefix", ["module.", "base_model.model."])
def test_names_with_a_prefix_are_refused(folder, prefix):
    rewrite(folder, lambda tensors: {prefix + key: t for key, t in tensors.items()})
    refused(folder, "tensors are missing in the files")


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (8, r"are missing in the files \(model\.layers\.4\."),
        (2, r"are in the files and not in the model .*model\.layers\.2\."),
    ],
)
def test_another_number_of_blocks_than_in_the_files_is_refused(folder, blocks, message):
    config = json.loads((folder / "config.json").read_text())
    for key in ("layer_types", "max_window_layers"):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": blocks}))
    refused(folder, message)


def test_an_adapter_beside_the_weights_is_refused(folder):
    (folder / "adapter_config.json").write_text("{}")
    refused(folder, "adapter_config.json.*merge it")


def others():
    """Configurations beside those of the shared tiny models, small."""
    import transformers as t

    small = {**LLAMA, "num_hidden_layers": 2}
    return {
        "mixtral": t.MixtralConfig(**small, num_local_experts=4),  # experts are saved one by one
        "phi3": t.Phi3Config(**small),
        "olmo2": t.Olmo2Config(**small),
        "gemma3_text": t.Gemma3TextConfig(**small, head_dim=8),
        "qwen2, tied": t.Qwen2Config(**small, tie_word_embeddings=True),
    }


@pytest.mark.parametrize("name", ["mixtral", "phi3", "olmo2", "gemma3_text", "qwen2, tied"])
def test_what_transformers_itself_saves_is_taken_in_shards_and_bfloat16(
    name, tmp_path, tokenizer_folder
):
    from transformers import AutoModelForCausalLM

    shutil.copytree(tokenizer_folder, tmp_path / "model")
    model = AutoModelForCausalLM.from_config(others()[name]).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model", max_shard_size="50KB")
    assert len(weight_files(tmp_path / "model")) > 1
    check_folder(tmp_path / "model")


def test_gpt2_as_it_first_was_saved_is_taken(tmp_path, model_folders):
    """Names without `transformer.`, and constants that are no weights."""
    copy = tmp_path / "model"
    shutil.copytree(model_folders["gpt2"], copy)

    def as_first(tensors):
        old = {name.removeprefix("transformer."): t.half() for name, t in tensors.items()}
        for block in range(4):
            old[f"h.{block}.attn.bias"] = torch.ones(1, 1, 256, 256, dtype=torch.uint8)
            old[f"h.{block}.attn.masked_bias"] = torch.tensor(-torch.inf)
        return old

    rewrite(copy, as_first)
    check_folder(copy)
    load(copy, device="cpu", dtype="float32", threads=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [(0, 0), (599, 31), (300, 7)])
def test_one_number_that_is_not_finite_is_found_wherever_it_is(folder, monkeypatch, value, place):
    """Also at the ends of the pieces that a tensor is read in."""
    monkeypatch.setattr(check, "PIECE", 32 * 7)
    name = "model.embed_tokens.weight"

    def change(tensors):
        tensors[name][place] = value
        return tensors

    check.refuse_not_finite(folder / WEIGHTS, [])
    rewrite(folder, change)
    with pytest.raises(UserError, match=rf"tensor {re.escape(name)} has values that are not fin"):
        check.refuse_not_finite(folder / WEIGHTS, [])


def test_finite_weights_of_float16_whose_sum_is_not_are_taken(folder):
    rewrite(folder, lambda tensors: {k: t.half().fill_(60000) for k, t in tensors.items()})
    check.refuse_not_finite(folder / WEIGHTS, [])


def test_a_scalar_that_is_not_finite_is_found(tmp_path):
    save_file({"one": torch.tensor(float("nan"))}, tmp_path / WEIGHTS)
    with pytest.raises(UserError, match="tensor one has values that are not finite"):
        check.refuse_not_finite(tmp_path / WEIGHTS, [])
