"""Models from a folder, a hub and a wheel: whole and pinned, or not at all."""

import ast
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT
from study import make_study, planned, snakemake

from steerpaper.engine.fetch import fetch_model, sha256
from steerpaper.engine.proof import load
from steerpaper.errors import UserError

REVISION = "0123456789abcdef0123456789abcdef01234567"


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_a_folder_is_referred_to_and_its_files_digested(tmp_path, model_folders, load_tiny):
    folder = model_folders["gpt2"]
    manifest = fetch_model(tmp_path / "m", name="m", source="path", where=str(folder))
    assert json.loads((tmp_path / "m/manifest.json").read_text()) == manifest
    weights = tmp_path / "m/model.safetensors"
    assert weights.resolve() == folder / "model.safetensors"
    assert manifest["files"]["model.safetensors"] == sha256(weights)


@pytest.mark.parametrize("inside", ["", "mine"])
def test_a_source_that_is_or_holds_the_target_is_refused_and_untouched(
    tmp_path, model_folders, inside
):
    source = tmp_path / "models"
    shutil.copytree(model_folders["gpt2"], source)
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    with pytest.raises(UserError, match=r"model\.path: .*models is, or holds, .*somewhere else"):
        fetch_model(source / inside, name="mine", source="path", where=str(source))
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


@pytest.mark.parametrize("way", ["below", "link", "links"])
def test_a_source_that_would_be_replaced_with_its_target_is_refused_and_untouched(
    tmp_path, model_folders, way
):
    """Below the target, a link to it, a folder of links to files in it."""
    target, source = tmp_path / "models/mine", tmp_path / "mine"
    kept = target / "deep" if way == "below" else target
    shutil.copytree(model_folders["gpt2"], kept)
    if way == "below":
        source = kept
    elif way == "link":
        source.symlink_to(target)
    else:
        source.mkdir()
        for file in kept.iterdir():
            (source / file.name).symlink_to(file)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    with pytest.raises(UserError, match=r"^model.*(somewhere else|another name)"):
        fetch_model(target, name="mine", source="path", where=str(source))
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    assert [path.name for path in target.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("kept", ["folder", "file", "link"])
def test_what_no_fetch_has_made_is_not_replaced(tmp_path, model_folders, kept):
    models = tmp_path / "models"
    models.mkdir()
    mine = tmp_path / "elsewhere" if kept == "link" else models / "mine"
    if kept == "file":
        mine.write_text("a year's work")
    else:
        mine.mkdir()
        (mine / "thesis.txt").write_text("a year's work")
    if kept == "link":
        (models / "mine").symlink_to(mine)
    with pytest.raises(UserError, match="which this workflow did not put there; move the folder"):
        fetch_model(models / "mine", name="mine", source="path", where=str(model_folders["gpt2"]))
    assert (mine if kept == "file" else mine / "thesis.txt").read_text() == "a year's work"
    assert [path.name for path in models.iterdir()] == ["mine"]


def test_a_fetch_again_replaces_what_a_fetch_has_made(tmp_path, model_folders):
    target = tmp_path / "models/m"
    for name in ("gpt2", "llama"):
        fetch_model(target, name="m", source="path", where=str(model_folders[name]))
        assert (target / "config.json").resolve() == model_folders[name] / "config.json"
        # as Snakemake does before it runs the rule again
        (target / "manifest.json").unlink()
    (target / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt, which this workflow did not put there"):
        fetch_model(target, name="m", source="path", where=str(model_folders["llama"]))
    assert (target / "notes.txt").read_text() == "mine"


def test_a_folder_of_an_older_version_is_replaced_by_the_same_files(tmp_path, model_folders):
    target = tmp_path / "models/m"
    shutil.copytree(model_folders["gpt2"], target)
    fetch_model(target, name="m", source="path", where=str(model_folders["gpt2"]))
    assert (target / "config.json").is_symlink()


def test_a_fetch_removes_what_a_killed_fetch_of_the_same_model_left_and_no_more(
    tmp_path, model_folders
):
    names = (".m~ab3_cdef.fetch", ".m~backup", ".m~ab3_cdef", ".m2~ab3_cdef.fetch", "m.old")
    for name in names:
        (tmp_path / name).mkdir()
    fetch_model(tmp_path / "m", name="m", source="path", where=str(model_folders["gpt2"]))
    assert {path.name for path in tmp_path.iterdir()} == {"m", *names[1:]}


def test_a_fetch_leaves_alone_what_another_model_s_fetch_has_begun(tmp_path, model_folders):
    begun = tmp_path / ".qwen2.5-0.5b~abcdefgh.fetch"
    begun.mkdir()
    fetch_model(tmp_path / "qwen2", name="qwen2", source="path", where=str(model_folders["gpt2"]))
    assert begun.exists()


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("config.json", "holds no config.json"),
        ("model.safetensors", "no safetensors weights"),
        ("tokenizer.json", "tokenizer cannot be loaded"),
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path, model_folders, remove, message):
    folder = tmp_path / "source"
    folder.mkdir()
    for file in model_folders["gpt2"].iterdir():
        if file.name != remove:
            (folder / file.name).symlink_to(file)
    with pytest.raises(UserError, match=message):
        fetch_model(tmp_path / "models/m", name="m", source="path", where=str(folder))
    assert nothing_left(tmp_path / "models")


# what a hub may list beside a model: files of folders, and names that lead out of the cache
ELSEWHERE = ["original/model.safetensors", "../../../escaped.json", "/escaped.json"]


class Hub(http.server.BaseHTTPRequestHandler):
    """The parts of the hub's protocol that a download of one revision uses."""

    refuses = 0  # a status to answer with instead

    def __init__(self, folder, seen, *args):
        self.folder, self.seen = folder, seen
        super().__init__(*args)

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.seen.append(self.path)
        names = sorted(file.name for file in self.folder.iterdir())
        listed = [*names, *ELSEWHERE]
        headers = {}
        if self.refuses:
            self.send_response(self.refuses)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.startswith(f"/api/models/org/tiny/tree/{REVISION}"):
            files = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for name in listed
                for data in [(self.folder / name).read_bytes() if name in names else b"{}"]
            ]
            content = json.dumps(files).encode()
            headers["Content-Type"] = "application/json"
        elif self.path.startswith(f"/api/models/org/tiny/revision/{REVISION}"):
            siblings = [{"rfilename": name} for name in listed]
            content = json.dumps({"id": "org/tiny", "sha": REVISION, "siblings": siblings}).encode()
            headers["Content-Type"] = "application/json"
        elif (name := self.path.rpartition("/")[2]) in names and REVISION in self.path:
            content = (self.folder / name).read_bytes()
            headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            headers["X-Repo-Commit"] = REVISION
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path, model_folders):
    """A local server that speaks the hub's protocol and holds one model, and what it was asked."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for file in model_folders["llama"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    # what must never be fetched: pickles and code
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling_custom.py").write_text("raise SystemExit")
    seen = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder, seen))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()


def fetch_from(endpoint, folder, where):
    """Fetch in a process of its own: the hub's client reads its address when it is imported."""
    code = (
        "import json, sys, time; from pathlib import Path\n"
        "time.sleep = lambda seconds: None  # between tries\n"
        "from steerpaper.engine.fetch import fetch_model\n"
        "from steerpaper.errors import UserError\n"
        "folder, where = Path(sys.argv[1]), json.loads(sys.argv[2])\n"
        "try: fetch_model(folder, name='m', source='hub', where=where)\n"
        "except UserError as error: sys.exit(str(error))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "scripts"),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder.parent / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    return subprocess.run(
        [sys.executable, "-c", code, str(folder), json.dumps(where)],
        env=environment,
        capture_output=True,
        text=True,
    )


def test_a_hub_model_is_fetched_by_pinned_revision_without_code_or_pickles(tmp_path, hub):
    endpoint, seen = hub
    process = fetch_from(endpoint, tmp_path / "m", {"id": "org/tiny", "revision": REVISION})
    assert process.returncode == 0, process.stderr
    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    assert (manifest["id"], manifest["revision"]) == ("org/tiny", REVISION)
    assert "model.safetensors" in manifest["files"]
    assert not any(path.endswith((".bin", ".py")) for path in seen)
    assert not any("escaped" in path or "original" in path for path in seen)
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_hub_model_of_pickles_alone_is_refused(tmp_path, hub):
    endpoint, seen = hub
    (tmp_path / "repository/model.safetensors").unlink()
    process = fetch_from(endpoint, tmp_path / "m", {"id": "org/tiny", "revision": REVISION})
    assert (
        process.stderr.strip()
        .splitlines()[-1]
        .startswith("model.hub: org/tiny: the model has no safetensors weights")
    )
    assert not any(path.endswith(".bin") for path in seen)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_hub_that_refuses_is_reported_in_one_line(tmp_path, hub, monkeypatch, status):
    endpoint, _ = hub
    monkeypatch.setattr(Hub, "refuses", status)
    process = fetch_from(endpoint, tmp_path / "models/m", {"id": "org/tiny", "revision": REVISION})
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("model.hub")]
    assert line.startswith(f"model.hub: org/tiny at revision {REVISION} cannot be fetched: ")
    assert str(status) in line
    assert "Traceback" not in process.stderr
    assert nothing_left(tmp_path / "models")


def test_a_hub_that_lacks_the_model_or_is_down_is_reported(tmp_path, hub):
    endpoint, _ = hub
    for address, name in ((endpoint, "org/none"), ("http://127.0.0.1:9", "org/tiny")):
        process = fetch_from(address, tmp_path / "models/m", {"id": name, "revision": REVISION})
        assert process.returncode == 1
        assert f"model.hub: {name} at revision {REVISION} cannot be fetched" in process.stderr
        assert "Traceback" not in process.stderr
        assert nothing_left(tmp_path / "models")


def test_every_load_says_that_no_remote_code_runs():
    """Each call of transformers that could run a model's code, or read a pickle, says no."""
    loads = []
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                of = ast.unparse(call.func.value)
                if call.func.attr in ("from_pretrained", "from_config") and of.startswith("Auto"):
                    said = {word.arg: ast.unparse(word.value) for word in call.keywords}
                    loads.append(of)
                    assert said.get("trust_remote_code") == "False", (path.name, call.lineno)
                    # gguf.py reads GGUF, which holds no code; a configuration holds no weights
                    weights = of == "AutoModelForCausalLM" and call.func.attr == "from_pretrained"
                    if weights and path.name != "gguf.py":
                        assert said.get("use_safetensors") == "True", path.name
    assert {"AutoConfig", "AutoModelForCausalLM", "AutoTokenizer"} == set(loads)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_s_code_is_left_out_where_transformers_has_its_own(
    tmp_path, model_folders, name, monkeypatch, caplog
):
    source, ran = tmp_path / "source", tmp_path / "ran"
    shutil.copytree(model_folders["llama"], source)
    (source / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    content = json.loads((source / name).read_text())
    kinds = ("AutoConfig", "AutoModelForCausalLM")
    code = dict.fromkeys(kinds, "evil.Evil") | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    (source / name).write_text(json.dumps(content | {"auto_map": code}))

    def asked(*_):
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr("builtins.input", asked)
    fetch_model(tmp_path / "m", name="m", source="path", where=str(source))
    load(tmp_path / "m", device="cpu", dtype="float32", threads=1)
    assert f"{name} names code of the model's own (auto_map), which is not run" in caplog.text
    assert not ran.exists()
    assert not (tmp_path / "m/evil.py").exists()


@pytest.mark.workflow
@pytest.mark.long
def test_the_rule_runs_again_when_a_file_of_the_user_s_folder_is_edited_and_says_what_is_wrong(
    tmp_path, model_folders
):
    source, manifest = tmp_path / "mine", "results/models/tiny/manifest.json"
    shutil.copytree(model_folders["llama"], source)
    (source / "checkpoints").mkdir()
    (source / "train.py").write_text("")
    config = make_study(tmp_path, source)
    assert snakemake(tmp_path, config, manifest).returncode == 0
    (source / "train.py").write_text("# no file of the model")
    assert planned(tmp_path, config, manifest) == set()
    weights = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(weights[:-100])
    process = snakemake(tmp_path, config, manifest)
    assert process.returncode == 1
    assert f"{source}/model.safetensors: is damaged or no safetensors file" in process.stderr
    assert "Traceback" not in process.stderr
    (source / "model.safetensors").write_bytes(weights)
    assert snakemake(tmp_path, config, manifest).returncode == 0
