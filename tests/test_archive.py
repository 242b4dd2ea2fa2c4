"""What is packed to be shared: the same bytes each time, no path of this machine, no secret."""

import os
import tarfile

import pytest
import yaml
from conftest import ROOT

from steerpaper.errors import UserError
from steerpaper.workflow.archive import (
    LATER,
    TIME,
    pack,
    refuse_secrets,
    shareable,
)
from steerpaper.workflow.config import validated
from steerpaper.workflow.places import secrets

SECRET = "sk-very-secret-0123456789"


def test_a_secret_in_what_is_not_a_log_stops_the_packing_and_is_named(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"a,b\n1,{SECRET}\n")
    found = secrets({"HF_TOKEN": SECRET, "MONKEY": "short", "LANG": "C.UTF-8-and-more"})
    assert found == {"HF_TOKEN": SECRET}
    with pytest.raises(UserError, match=r"tables/a\.csv, line 2: .* HF_TOKEN"):
        refuse_secrets({"config.yaml": b"study: a\n", "tables/a.csv": table}, found)


def test_bytes_depend_on_names_and_contents_alone(tmp_path):
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    for path, time in ((one, 10), (other, 99)):
        path.write_text("a,b\n")
        os.utime(path, (time, time))
    other.chmod(0o600)
    pack(tmp_path / "x.tar.gz", "s", {"results/b.csv": one, "a.md": b"hello"})
    pack(tmp_path / "y.tar.gz", "s", {"a.md": b"hello", "results/b.csv": other})
    assert (tmp_path / "x.tar.gz").read_bytes() == (tmp_path / "y.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        entries = tar.getmembers()
    assert [(entry.name, entry.mtime) for entry in entries] == [
        ("s/a.md", TIME),
        ("s/results/b.csv", LATER),
    ]
    assert {(entry.uid, entry.uname, entry.mode) for entry in entries} == {(0, "", 0o644)}


def test_a_shared_configuration_is_valid_and_names_no_folder(tmp_path, monkeypatch):
    private = tmp_path / "jane"
    private.mkdir()
    for name in ("a.jsonl", "a.yaml", "corpus.txt"):
        (private / name).write_text("{}")
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["behaviors"]["tea"] = {"items": f"{private}/a.jsonl", "about": f"{private}/a.yaml"}
    config["lookups"]["corpus"] |= {"source": "file", "file": {"path": f"{private}/corpus.txt"}}
    config["model"] = {"name": "own", "source": "path", "path": f"{private}/weights"}
    monkeypatch.chdir(ROOT)
    checked = validated(config, ROOT / "config.schema.yaml")
    shared, data = shareable(checked)
    assert "jane" not in str(shared)
    assert shared["model"]["path"] == "weights"
    assert data["data/behaviors.tea.about.yaml"] == private / "a.yaml"
    assert data["data/lookups.corpus.file.path.txt"] == private / "corpus.txt"
    for name in data:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data[name].read_bytes())
    monkeypatch.chdir(tmp_path)
    assert validated(shared, ROOT / "config.schema.yaml") == shared
