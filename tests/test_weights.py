"""A model folder whose weights do not fit is refused with the tensors' names."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from steerpaper.engine.model import load
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
