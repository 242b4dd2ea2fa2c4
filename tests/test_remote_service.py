"""NDIF's protocol, spoken by a process without the project's modules: numbers, and what fails."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from test_equality import make_conditions, make_pairs, make_vectors
from test_fetch import REVISION, fetch_from, hub

from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.engine.how import How
from steerpaper.engine.identities import check_parts
from steerpaper.engine.model import load_manifest
from steerpaper.engine.proof import engine_file, load_proved
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice
from steerpaper.errors import UserError
from steerpaper.steering.activations import read_activations
from steerpaper.workflow.checks import meaning
from steerpaper.workflow.config import check_file
from steerpaper.workflow.files import write_json

__all__ = ["hub"]
KEY, NAME = "a-key-that-nobody-sees", "owner/tiny"


@pytest.fixture(scope="module")
def ndif(model_folders, tmp_path_factory):
    """The address of a service that runs the tiny Llama."""
    environment = {key: one for key, one in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests/ndif.py", model_folders["llama"], KEY, NAME, REVISION],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path_factory.mktemp("service"),
    )
    yield process.stdout.readline().strip()
    process.kill()
    process.wait()


@pytest.fixture
def reached(ndif, monkeypatch):
    """The service is what this process reaches; nothing goes wrong there."""
    from nnsight.schema.config import CONFIG

    from steerpaper.engine import service

    monkeypatch.setattr(CONFIG.API, "HOST", ndif)
    monkeypatch.setenv("NDIF_API_KEY", KEY)
    monkeypatch.setattr(service, "ASKED", (0.02, 0.2))
    httpx.post(f"{ndif}/faults", json={})
    return ndif


@pytest.fixture(scope="module")
def folder(model_folders, tmp_path_factory):
    """A model's folder as it is fetched of one that runs elsewhere: no weights."""
    folder = tmp_path_factory.mktemp("described")
    for file in model_folders["llama"].iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, folder)
    origin = {"name": "tiny", "id": NAME, "revision": REVISION, "remote": True}
    write_json(folder / "manifest.json", origin)
    return folder


@pytest.fixture(scope="module")
def proved(ndif, folder):
    """The model, found without its weights and proved where it runs."""
    from nnsight.schema.config import CONFIG

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CONFIG.API, "HOST", ndif)
        patch.setenv("NDIF_API_KEY", KEY)
        return load_proved(folder, device="auto", dtype="float32", threads=1)


@pytest.fixture
def there(reached, proved):
    """The model, impatient."""
    lm = proved[0]
    together = lm.remote.together
    together.send = replace(together.send, pauses=(0.01, 0.01))
    return lm


def test_it_is_found_and_proved_without_its_weights(proved, load_tiny):
    lm, checks = proved
    assert all(parameter.is_meta for parameter in lm.nn._module.parameters())
    assert lm.where == load_tiny("llama").where
    assert lm.how == How(reuse=False)
    assert [check.holds for check in checks] == [True] * 6


def test_numbers_are_those_of_this_machine(there, load_tiny, reached):
    here = load_tiny("llama")
    pairs, vectors = make_pairs(here, "letters"), make_vectors(here)
    found, wanted = read_activations(there, pairs, 4096), read_activations(here, pairs, 512)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-5 * np.abs(values).max())
    found, wanted = (
        score(lm, pairs, vectors, make_conditions(), budget=8192) for lm in (there, here)
    )
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    requests = [
        Request(pair.text, condition, stream)
        for pair, condition in zip(pairs[:2], make_conditions(), strict=False)
        for stream in (None, (0, "test"))
    ]
    decoding = Decoding(3, temperature=0.9, top_p=0.8, budget=4096)
    found, wanted = (complete(lm, requests, vectors, decoding) for lm in (there, here))
    assert found == wanted
    # ids, masks and what steers: no weights, no hidden states
    assert max(httpx.get(f"{reached}/asked").json()) < 50_000


SCRIPT = """
from steerpaper.engine.lean import FINDER
from steerpaper.engine.model import load_manifest
from steerpaper.engine.text import Choice
from steerpaper.steering.activations import read_activations
import json, sys
assert FINDER in sys.meta_path
lm, _ = load_manifest(sys.argv[1], device="auto", dtype="float32", threads=1)
found = read_activations(lm, [Choice("one", [5, 6, 7], [8], [9])], 4096)
print(json.dumps(found["matching"][0, -1].tolist()))
"""


@pytest.mark.long
def test_a_job_of_its_own_opens_what_was_proved(ndif, load_tiny, folder, tmp_path, proved):
    """What jobs import in name only (`engine.lean`) is there where shapes are needed."""
    write_json(tmp_path / "engine.json", engine_file(proved[0], os.path.relpath(folder, tmp_path)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    environment |= {"NDIF_HOST": ndif, "NDIF_API_KEY": KEY}
    command = [sys.executable, "-c", SCRIPT, tmp_path / "engine.json"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert KEY not in process.stdout + process.stderr
    here = read_activations(load_tiny("llama"), [Choice("one", [5, 6, 7], [8], [9])], 4096)
    theirs = here["matching"][0, -1]
    np.testing.assert_allclose(json.loads(process.stdout), theirs, atol=1e-5 * abs(theirs).max())


def test_a_job_opens_what_was_proved(there, folder, tmp_path, proved):
    write_json(tmp_path / "engine.json", engine_file(proved[0], os.path.relpath(folder, tmp_path)))
    lm, origin = load_manifest(tmp_path / "engine.json", device="cuda", dtype="float32", threads=1)
    assert (origin["name"], lm.name, lm.how) == ("tiny", "tiny", How(reuse=False))
    assert lm.remote is not None
    with pytest.raises(UserError, match=r"weights are at NDIF .*studies: \[steering\]"):
        check_parts(lm)


FAULTS = [
    ({"request": [429, 503]}, 1, "429.*again in 0.01 s"),
    ({"request": ["lost"]}, 1, "again in 0.01 s"),
    ({"response": ["lost", 502]}, 1, ""),
    ({"result": ["lost"]}, 1, ""),
    ({"job": ["Your job was cancelled or preempted by the server."]}, 2, "preempted.*again"),
    ({"job": ["CUDA out of memory. Tried to allocate 2 GiB"]}, 3, "halved and retried"),
]


@pytest.mark.parametrize(("faults", "jobs", "told"), FAULTS)
def test_what_can_succeed_is_tried_again(there, load_tiny, reached, faults, jobs, told, caplog):
    pairs = make_pairs(there, "letters", 1)
    httpx.post(f"{reached}/faults", json=faults)
    with caplog.at_level(logging.WARNING):
        found = read_activations(there, pairs, 100_000)
    asked = httpx.get(f"{reached}/asked").json()
    wanted = read_activations(load_tiny("llama"), pairs, 512)["matching"]
    np.testing.assert_allclose(found["matching"], wanted, rtol=0, atol=1e-4)
    assert not httpx.get(f"{reached}/left").json()
    assert len(asked) == jobs
    assert re.search(told, caplog.text, re.DOTALL)
    assert KEY not in caplog.text


REFUSED = [
    ({"request": [503] * 3}, r"503.*\(3 tries\)"),
    ({"request": [400]}, r"told to answer 400 \(HTTP 400\)"),
    ({"request": [401]}, r"HTTP 401\); check NDIF_API_KEY"),
    ({"job": ["NameError: name 'x' is not defined"]}, r"the job failed: NameError: name 'x'"),
    ({"job": ["Job was evicted"] * 3}, r"evicted \(3 tries\)"),
]


@pytest.mark.parametrize(("faults", "message"), REFUSED)
def test_what_cannot_is_one_message(there, reached, faults, message):
    httpx.post(f"{reached}/faults", json=faults)
    with pytest.raises(UserError, match=message) as error:
        read_activations(there, make_pairs(there, "letters", 1), 4096)
    assert "\n" not in str(error.value)
    assert KEY not in str(error.value)


def test_a_wrong_key_and_none_are_one_message_each(there, folder, monkeypatch):
    monkeypatch.setenv("NDIF_API_KEY", "another")
    with pytest.raises(UserError, match=r"Missing or invalid API key\. \(HTTP 401\); check NDIF"):
        read_activations(there, make_pairs(there, "letters", 1), 4096)
    monkeypatch.delenv("NDIF_API_KEY")
    with pytest.raises(UserError, match="environment variable NDIF_API_KEY is not set"):
        load_proved(folder, device="auto", dtype="float32", threads=1)


def test_the_deployment_at_the_pinned_commit_is_the_one_that_runs(reached, monkeypatch):
    from steerpaper.engine import reach

    assert json.loads(reach.deployed(NAME, REVISION).partition(":")[2])["revision"] == REVISION
    with pytest.raises(UserError, match="does not run owner/other now; it runs owner/tiny"):
        reach.deployed("owner/other", REVISION)
    branch = {"one": {"repo_id": NAME, "revision": None, "task": "text-generation"}}
    answer = SimpleNamespace(raise_for_status=lambda: None, json=lambda: {"deployments": branch})
    monkeypatch.setattr(reach.httpx, "get", lambda *_, **__: answer)
    monkeypatch.setattr(reach, "commit_of", lambda *_: REVISION)
    assert json.loads(reach.deployed(NAME, REVISION).partition(":")[2])["revision"] is None
    monkeypatch.setattr(reach, "commit_of", lambda *_: "b" * 40)
    with pytest.raises(UserError, match=f"at 'main', which is commit {'b' * 40}.*pin that commit"):
        reach.deployed(NAME, REVISION)


def test_models_are_named_as_nnsight_names_them(proved):
    from nnsight.modeling import huggingface

    from steerpaper.engine.reach import model_key

    nn = proved[0].nn
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(huggingface._ID_CACHE, NAME, NAME)
        patch.setattr(nn, "repo_id", NAME)
        patch.setattr(nn, "revision", REVISION)
        assert nn.to_model_key() == model_key(NAME, REVISION)


def test_no_weights_are_fetched(tmp_path, hub):
    endpoint, seen = hub
    where = {"id": "org/tiny", "revision": REVISION, "remote": True}
    process = fetch_from(endpoint, tmp_path / "m", where)
    assert process.returncode == 0, process.stderr
    assert not any("safetensors" in path for path in seen if "/resolve/" in path)
    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    assert manifest["remote"] is True
    assert {"config.json", "tokenizer.json"} <= set(manifest["files"])


def test_rules_ask_for_no_gpu_and_lookups_are_refused(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["model"] |= {"source": "hub", "hub": {"id": NAME, "revision": REVISION}}
    config["model"]["remote"], config["studies"] = True, ["steering"]
    rules = rules_of(tmp_path, config)
    gpus = [rule["resources"]["gpu"] for rule in rules.values() if "gpu" in rule["resources"]]
    assert len(gpus) > 15
    assert {re.sub(r"\D", "", gpu) for gpu in gpus} == {"0"}
    assert rules["model"]["params"]["settings"]["where"]["remote"] is True
    assert "remote" not in json.dumps(rules_of(tmp_path)["model"]["params"]["settings"])
    config["studies"], config["model"]["source"] = ["lookups"], "wheel"
    problems = "\n".join(meaning(check_file(ROOT / "config.yaml") | config))
    assert "lookups are made of the weights" in problems
    assert "model.source is wheel" in problems
