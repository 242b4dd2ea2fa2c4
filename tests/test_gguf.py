"""A GGUF file as the model: of any quantization, checked first, converted once."""

import hashlib
import json
import os
import subprocess
import sys

import gguf
import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from gguf_files import WIDE, write_gguf
from local_hub import serving
from safetensors.torch import load_file
from study import make_study, snakemake

from steerpaper.engine.fetch import fetch_model
from steerpaper.engine.proof import load
from steerpaper.errors import UserError
from steerpaper.workflow.config import validated

# what the package gguf dequantizes, and what it does not
KINDS = ["F32", "F16", *sorted(kind.name for kind in gguf.quants._type_traits)]
OTHERS = ["Q8_K", "Q1_0"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def fetched(tmp_path, file):
    """The folder that a GGUF file is converted to, and its manifest."""
    folder = tmp_path / "models/m"
    return folder, fetch_model(folder, name="m", source="gguf", where={"path": str(file)})


@pytest.mark.parametrize("kind", KINDS)
def test_every_quantization_becomes_the_numbers_that_it_stands_for(tmp_path, kind):
    from transformers import AutoModelForCausalLM

    file = tmp_path / "tiny.gguf"
    write_gguf(file, kind=kind, width=WIDE)
    folder, manifest = fetched(tmp_path, file)
    found = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    # as transformers reads the file itself
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32
    ).state_dict()
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[name], theirs[name]) for name in found)
    # and as gguf does, tensor by tensor; queries and keys have another order there
    tensors = {one.name: one for one in gguf.GGUFReader(file).tensors}
    for ours, name in {
        "model.embed_tokens": "token_embd",
        "model.layers.1.mlp.down_proj": "blk.1.ffn_down",
        "model.layers.0.self_attn.v_proj": "blk.0.attn_v",
        "lm_head": "output",
    }.items():
        one = tensors[f"{name}.weight"]
        expected = gguf.dequantize(one.data, one.tensor_type)
        assert np.array_equal(found[f"{ours}.weight"].numpy(), expected)
    assert manifest["gguf"] == "tiny.gguf"
    assert manifest["gguf_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_converted_model_runs_and_has_the_files_tokenizer(tmp_path):
    write_gguf(tmp_path / "tiny.gguf", kind="Q8_0")
    folder, manifest = fetched(tmp_path, tmp_path / "tiny.gguf")
    assert manifest["revision"] == "file tiny.gguf"
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    lm = load(folder, device="cpu", dtype="float32", threads=1)
    assert (lm.n_layers, lm.width) == (2, 32)
    assert lm.tokenizer("abc", add_special_tokens=False).input_ids == [6, 2]
    assert lm.tokenizer.bos_token == "<s>"


FETCH = """
import json, sys
from pathlib import Path
from steerpaper.engine.fetch import fetch_model
from steerpaper.errors import UserError
for name, where in json.loads(sys.argv[1]).items():
    try:
        said = fetch_model(Path(name) / "m", name="m", source="gguf", where=where)
    except UserError as error:
        said = str(error)
    print(json.dumps(said))
"""


@pytest.mark.long
def test_a_file_of_the_hub_is_fetched_at_its_commit(tmp_path):
    source = tmp_path / "repository"
    (source / "sub").mkdir(parents=True)
    write_gguf(source / "sub/tiny-Q4_0.gguf", kind="Q4_0")
    (source / "other-Q8_0.gguf").write_bytes(b"GGUF")
    where = {"id": "me/tiny-GGUF", "revision": COMMIT, "file": "sub/tiny-Q4_0.gguf"}
    asked = {"there": where, "not": {**where, "file": "x.gguf"}}
    with serving() as shelf:
        shelf.repositories["models", "me/tiny-GGUF", COMMIT] = source
        process = subprocess.run(
            [sys.executable, "-c", FETCH, json.dumps(asked)],
            cwd=tmp_path,
            # the hub's client reads where the hub is when it is imported
            env=os.environ
            | {"HF_ENDPOINT": shelf.at, "HF_HOME": str(tmp_path / "home")}
            | {"PYTHONPATH": str(ROOT / "scripts")},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        assert not [path for path in shelf.asked if path.endswith("other-Q8_0.gguf")]
    manifest, missing = map(json.loads, process.stdout.splitlines())
    assert (manifest["id"], manifest["revision"]) == ("me/tiny-GGUF", COMMIT)
    assert manifest["gguf"] == "tiny-Q4_0.gguf"
    assert (tmp_path / "there/m/model.safetensors").is_file()
    assert missing == "model.gguf.file: me/tiny-GGUF has no file x.gguf"
    assert not list((tmp_path / "not").iterdir())


def test_divided_rotary_frequencies_are_kept(tmp_path):
    """Llama 3.1's files have them as a tensor, which transformers leaves out."""
    divisors = [1.0, 2.0, 4.0, 8.0]
    write_gguf(tmp_path / "plain.gguf")
    write_gguf(tmp_path / "divided.gguf", extra={"rope_freqs.weight": divisors})
    frequencies = []
    for name in ("plain", "divided"):
        folder = tmp_path / f"models/{name}"
        where = {"path": str(tmp_path / f"{name}.gguf")}
        fetch_model(folder, name=name, source="gguf", where=where)
        lm = load(folder, device="cpu", dtype="float32", threads=1)
        rotary = lm.nn._module.model.rotary_emb
        assert rotary.attention_scaling == 1.0
        frequencies.append(rotary.inv_freq)
    torch.testing.assert_close(frequencies[0] / torch.tensor(divisors), frequencies[1])


@pytest.mark.parametrize("kind", OTHERS)
def test_a_quantization_that_gguf_does_not_read_is_named(tmp_path, kind):
    write_gguf(tmp_path / "tiny.gguf", kind=kind, width=WIDE)
    with pytest.raises(UserError, match=rf"tensor \S+ is of type {kind}, which the package gguf"):
        fetched(tmp_path, tmp_path / "tiny.gguf")
    assert not list((tmp_path / "models").iterdir())


def test_the_configuration_takes_a_path_or_a_file_of_the_hub(tmp_path):
    def model(**gguf_keys):
        config = yaml.safe_load((ROOT / "config.yaml").read_text())
        config["model"] |= {"source": "gguf", "gguf": gguf_keys}
        return validated(config, ROOT / "config.schema.yaml")["model"]["gguf"]

    hub = {"id": "me/tiny-GGUF", "revision": COMMIT, "file": "sub/tiny.gguf"}
    assert model(**hub) == hub
    mine = str(tmp_path / "my.gguf")
    write_gguf(tmp_path / "my.gguf")
    assert model(path=mine) == {"path": mine}
    for wrong in (
        {},
        {"id": "me/tiny-GGUF"},
        {**hub, "path": mine},
        {**hub, "file": "../x.gguf"},
    ):
        with pytest.raises(UserError, match=r"model\.gguf"):
            model(**wrong)


@pytest.mark.workflow
@pytest.mark.long
def test_the_workflow_converts_a_file_and_again_where_it_is_another(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    del config["model"]["path"]
    config["model"] |= {"source": "gguf", "gguf": {"path": "tiny.gguf"}}
    record = tmp_path / f"results/models/{config['model']['name']}/manifest.json"
    digests = []
    for kind in ("Q8_0", "Q4_0"):
        write_gguf(tmp_path / "tiny.gguf", kind=kind)
        process = snakemake(tmp_path, config, str(record.relative_to(tmp_path)))
        assert process.returncode == 0, process.stderr
        digests.append(json.loads(record.read_text())["gguf_sha256"])
    assert digests[0] != digests[1]
    assert digests[1] == hashlib.sha256((tmp_path / "tiny.gguf").read_bytes()).hexdigest()
