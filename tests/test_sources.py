"""Raw data from an address, a repository or the hub: as it was pinned, whole, or not at all."""

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from typing import ClassVar

import pytest
from conftest import ROOT

from steerpaper.errors import UserError
from steerpaper.workflow import fetching
from steerpaper.workflow.fetching import fetch, split_files
from steerpaper.workflow.sources import (
    check_sources,
    digest,
    fetched,
    to_fetch,
)

TEXT = b"".join(b'{"question": "How is it, %d?"}\n' % number for number in range(400))
PINNED = hashlib.sha256(TEXT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Answers by the path: what is asked for is what goes wrong."""

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        way = self.path.strip("/").split("/")[0]
        asked = self.server.asked
        asked.append((self.path, self.headers.get("Range")))
        times = sum(path == self.path for path, _ in asked)
        if way == "moved":
            return self.answer(302, Location=f"http://{self.headers['Host']}/good/items.jsonl")
        if way.isdigit() or (way.startswith("once") and times == 1):
            return self.answer(int(way.removeprefix("once")), **{"Retry-After": "0"})
        body, status, headers = TEXT, 200, {}
        if (wanted := self.headers.get("Range")) and way != "stubborn":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(TEXT):
                return self.answer(416, **{"Content-Range": f"bytes */{len(TEXT)}"})
            body, status = TEXT[start:], 206
            headers = {"Content-Range": f"bytes {start}-{len(TEXT) - 1}/{len(TEXT)}"}
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if way in ("broken", "stubborn") and times == 1:
            self.wfile.write(body[:3000])
            return self.wfile.flush()
        for at in range(0, len(body), 4000):
            self.wfile.write(body[at : at + 4000])
            time.sleep(0.02 if way == "slow" else 0)
        return None

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": 0}.items():
            self.send_header(name, str(value))
        self.end_headers()


@pytest.fixture
def server(monkeypatch):
    """A local server, and the paths that it was asked for."""
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.asked = []
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.at = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.shutdown()


def get(tmp_path, source, key="behaviors.calm.items"):
    target = tmp_path / fetched(source)
    return target, fetch(target, target.with_name(f"{target.name}.manifest.json"), source, key)


def url(server, way, pinned=PINNED):
    return {"url": f"{server.at}/{way}/items.jsonl", "sha256": pinned}


@pytest.mark.parametrize(
    "way", ["good", "slow", "broken", "stubborn", "moved", "once429", "once500", "once503"]
)
def test_a_file_comes_whole_from_a_server_that_is_slow_breaks_off_or_is_busy(tmp_path, server, way):
    source = url(server, way)
    target, manifest = get(tmp_path, source)
    assert target.read_bytes() == TEXT
    assert {path.name for path in target.parent.iterdir()} == {
        "items.jsonl",
        "items.jsonl.manifest.json",
    }
    assert manifest["source"] == source
    assert (manifest["sha256"], manifest["bytes"]) == (PINNED, len(TEXT))
    assert json.loads(target.with_name("items.jsonl.manifest.json").read_text()) == manifest
    if way == "broken":  # it goes on where it was
        assert server.asked[-1][1] == "bytes=3000-"


def test_a_fetch_that_was_killed_goes_on_where_it_was(tmp_path, server):
    source = url(server, "good")
    target = tmp_path / fetched(source)
    target.parent.mkdir(parents=True)
    for kept in (TEXT[:5000], TEXT):
        target.with_name(".items.jsonl.part").write_bytes(kept)
        get(tmp_path, source)
        assert target.read_bytes() == TEXT
        assert server.asked[-1][1] == f"bytes={len(kept)}-"
    # what is no part of the file is fetched anew
    target.with_name(".items.jsonl.part").write_bytes(TEXT + b"more")
    get(tmp_path, source)
    assert target.read_bytes() == TEXT


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("401", r"items\.url: .* is not open to all \(status 401\); fetch it with your account"),
        ("403", r"is not open to all \(status 403\)"),
        ("404", r"is not there \(status 404\); has it moved\?"),
        ("410", r"is not there \(status 410\)"),
        ("429", r"tried 5 times: status 429; run again later"),
        ("500", r"tried 5 times: status 500; run again later"),
    ],
)
def test_a_server_that_refuses_is_named_with_the_way_out(tmp_path, server, way, said):
    with pytest.raises(UserError, match=said):
        get(tmp_path, url(server, way))
    assert not list(tmp_path.rglob("items.jsonl*"))


def test_another_file_than_was_pinned_is_refused_and_not_kept(tmp_path, server):
    with pytest.raises(UserError, match=rf"has the SHA-256 digest {PINNED}, the configuration"):
        get(tmp_path, url(server, "good", pinned="0" * 64))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_a_network_the_way_out_is_said(tmp_path, server, monkeypatch):
    server.shutdown()
    server.server_close()
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)
    with pytest.raises(UserError, match=r"tried 2 times.*is there a network\? On a machine"):
        get(tmp_path, url(server, "good"))


def test_a_repositorys_file_is_asked_for_at_its_commit(tmp_path, server, monkeypatch):
    monkeypatch.setattr(fetching, "GITHUB", f"{server.at}/good")
    where = {"repo": "a/b", "commit": "c" * 40, "path": "datasets/x y.json", "sha256": PINNED}
    target, manifest = get(tmp_path, {"github": where, "licence": "MIT"})
    assert target.name == "x_y.json"
    assert server.asked[0][0] == f"/good/a/b/{'c' * 40}/datasets/x%20y.json"
    assert manifest["licence"] == "MIT"


def test_a_licence_changes_no_place_and_everything_else_does():
    source = {"url": "https://a.org/b.jsonl", "sha256": PINNED}
    assert digest(source) == digest({**source, "licence": "MIT"})
    others = [{**source, "sha256": "0" * 64}, {**source, "url": "https://a.org/c/b.jsonl"}]
    assert len({digest(one) for one in [source, *others]}) == 3
    assert fetched(source) == f"results/data/{digest(source)}/b.jsonl"


def configuration(**behavior):
    return {
        "behaviors": {"calm": behavior},
        "steering": {"cost": {"neutral": "n.jsonl", "knowledge": "k.jsonl"}},
        "lookups": {"corpus": {"source": "stdlib"}},
    }


@pytest.mark.parametrize(
    ("behavior", "said"),
    [
        ({}, r"behaviors\.calm: has neither items .* nor splits"),
        ({"items": "a", "splits": {"train": "b", "test": "c"}}, "has both items .* and splits"),
        ({"items": {}}, r"calm\.items: expected one of path, url, github and hub, found none"),
        ({"items": {"path": "a", "url": "b"}}, "found path and url"),
        ({"items": {"url": "https://a.org/b"}}, r"calm\.items\.sha256: is missing"),
        ({"items": {"hub": {"id": "a"}}}, r"calm\.items\.hub: expected either file, or split"),
        ({"items": {"hub": {"id": "a", "split": "train"}}}, "columns say which"),
        ({"splits": {"train": "a", "test": {}}}, r"calm\.splits\.test: expected one of"),
    ],
)
def test_a_source_that_says_too_little_or_too_much_is_named(behavior, said):
    (problem,) = check_sources(configuration(**behavior))
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(problem)


def test_a_path_in_braces_is_a_path_and_nothing_is_fetched_for_it():
    config = configuration(items={"path": "a.jsonl"})
    assert check_sources(config) == []
    assert config["behaviors"]["calm"]["items"] == "a.jsonl"
    assert to_fetch(config) == {}


def test_all_sources_that_are_no_paths_are_fetched():
    source = {"url": "https://a.org/b.jsonl", "sha256": PINNED}
    hub = {"id": "a/b", "revision": "c" * 40, "split": "train", "column": "text"}
    config = configuration(splits={"train": source, "test": "t.jsonl"})
    config["lookups"]["corpus"] = {"source": "hub", "hub": hub}
    keys = {key for key, _ in to_fetch(config).values()}
    assert keys == {"behaviors.calm.splits.train", "lookups.corpus"}


def test_a_hub_splits_files_are_found_by_name():
    names = ["README.md", "data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet"]
    names += ["data/test-00000-of-00001.parquet", "train.csv"]
    assert split_files(names, "train") == sorted(names[1:3])
    assert split_files(["train.csv"], "train") == ["train.csv"]
    assert split_files(names, "dev") == []


FETCH = """
import json, sys
from pathlib import Path
from steerpaper.errors import UserError
from steerpaper.workflow.fetching import fetch
folder, source = Path(sys.argv[1]), json.loads(sys.argv[2])
try:
    fetch(folder / "file", folder / "manifest.json", source, "behaviors.calm.items")
except UserError as error:
    sys.exit(str(error))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """What the client library needs of a hub: one revision of one data set."""

    files: ClassVar = {
        "README.md": b"read me",
        "data/train-00000-of-00001.jsonl": b'{"text": "one"}\n{"text": "two"}\n',
        "data/test-00000-of-00001.jsonl": b'{"text": "three"}\n',
    }

    def do_GET(self):
        revision, path = "a" * 40, self.path.partition("?")[0]
        if path == f"/api/datasets/some/corpus/revision/{revision}":
            about = {"id": "some/corpus", "sha": revision, "cardData": {"license": "mit"}}
            about["siblings"] = [{"rfilename": name} for name in self.files]
            body = json.dumps(about).encode()
        elif path.startswith(f"/datasets/some/corpus/resolve/{revision}/"):
            body = self.files[path.partition(f"{revision}/")[2]]
        elif path == f"/api/datasets/some/corpus/tree/{revision}":
            sizes = [(name, len(body)) for name, body in self.files.items()]
            tree = [{"type": "file", "path": n, "size": s, "oid": "0" * 40} for n, s in sizes]
            body = json.dumps(tree).encode()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", revision)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *args):
        pass


def fetch_from_hub(tmp_path, address, where):
    """Fetch in a process of its own: the client reads the hub's address when it is imported."""
    source = {"hub": {"id": "some/corpus", "revision": "a" * 40, **where}}
    (tmp_path / "out").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT / "scripts"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", FETCH, str(tmp_path / "out"), json.dumps(source)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stderr.strip()


def test_a_hub_data_set_comes_by_file_or_by_split_and_columns(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, got = f"http://127.0.0.1:{server.server_port}", tmp_path / "out/file"
    rows = {"split": "train", "columns": {"question": "text"}}
    try:
        assert fetch_from_hub(tmp_path, address, rows) == ""
        assert got.read_text() == '{"question": "one"}\n{"question": "two"}\n'
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        assert manifest["licence"] == "mit"
        assert manifest["sha256"] == hashlib.sha256(got.read_bytes()).hexdigest()
        assert fetch_from_hub(tmp_path, address, {"file": "README.md"}) == ""
        assert got.read_text() == "read me"
        for where, said in [
            ({**rows, "split": "dev"}, "items.hub.split: some/corpus has no .* the split 'dev'"),
            ({**rows, "columns": {"a": "b"}}, "items.hub.columns: .* no column 'b'; it has text"),
            ({"file": "none.json"}, "items.hub.file: some/corpus has no file none.json"),
            ({"file": "README.md", "revision": "b" * 40}, "cannot be fetched: .*check the id"),
        ]:
            before = got.read_bytes()
            assert re.search(said, fetch_from_hub(tmp_path, address, where)), said
            assert got.read_bytes() == before
    finally:
        server.shutdown()
        server.server_close()
