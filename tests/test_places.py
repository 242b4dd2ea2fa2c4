"""What others may read names no folder of this machine, no host, and holds no secret."""

import socket
import subprocess
from pathlib import Path

import pytest
from bad_inputs import areas, message_of
from bad_inputs.endpoint import SECRETS
from conftest import ROOT

from steerpaper.errors import UserError
from steerpaper.workflow.places import cleaned, data_names, machine, named, portable, secrets
from steerpaper.workflow.provenance import FOLDERS, workflow_files

ENDPOINT = areas()["endpoint"]
SECOND = {name: case for name, case in areas()["ratings"].items() if "second judge" in name}


@pytest.mark.parametrize("name", ENDPOINT)
def test_a_refused_address_or_key_is_not_repeated_by_the_message(name, tmp_path):
    said = message_of(ENDPOINT[name], tmp_path, tmp_path)
    assert not any(secret in said for secret in SECRETS), said
    assert "key_variable" in said


@pytest.mark.parametrize("name", SECOND)
def test_nor_is_what_stands_in_the_place_of_a_second_judge(name, tmp_path):
    said = message_of(SECOND[name], tmp_path, tmp_path)
    assert not any(secret in said for secret in SECRETS), said
    assert "steering.ratings.second" in said


def test_secrets_are_what_a_name_says_and_what_the_configuration_names():
    found = {"MY_TOKEN": "t" * 8, "LLM_ACCESS": "a" * 8, "SHORT_KEY": "abc", "LANG": "C.UTF-8-and"}
    assert set(secrets(found)) == {"MY_TOKEN"}
    assert set(secrets(found, "LLM_ACCESS")) == {"MY_TOKEN", "LLM_ACCESS"}
    assert set(secrets(found, None)) == {"MY_TOKEN"}


def test_of_two_secrets_the_longer_is_taken_out_whole():
    found = {"A_KEY": "abcdefgh", "B_KEY": "abcdefgh-ijkl"}
    assert cleaned("abcdefgh-ijkl and abcdefgh", [], found) == "<B_KEY> and <A_KEY>"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ('File "/home/jane/model.py", line 3', 'File ".../model.py", line 3'),
        (r"C:\Users\Jane Doe\tea.jsonl is missing", ".../tea.jsonl is missing"),
        (r"'C:\\Users\\jane\\tea.jsonl'", "'.../tea.jsonl'"),
        ("D:/jane/tea.jsonl", ".../tea.jsonl"),
        (r"\\server\share\jane\tea.csv", ".../tea.csv"),
        ("~/data/tea.jsonl, ~jane/notes", ".../tea.jsonl, ..."),
        ("file:///home/jane/tea.txt", "file:.../tea.txt"),
        ("error:/home/jane/x.py:3", "error:.../x.py:3"),
        ("cc -I/home/jane/include/x.h", "cc -I.../x.h"),
        ("host=gpu-17.example, hostname: gpu-17", "host=..., hostname: ..."),
        ('{"host": "gpu-17"}', '{"host": "..."}'),
        ("/study dir/results/a.csv in /study dir", ".../a.csv in ..."),
        ("/study dir-2/a.csv", "/study dir-2/a.csv"),
    ],
)
def test_a_record_keeps_a_file_s_name_alone(said, left):
    assert cleaned(said, machine(Path("/study dir")), {}) == left


@pytest.mark.parametrize(
    "said",
    [
        "from https://example.org/a/b.json, 3/4 of and/or at ./results/x in 2 s/item",
        "http://localhost:8000/v1 took ~5/6 of a ~ b, s: 3, /no_think",
    ],
)
def test_addresses_and_fractions_are_not_taken_for_paths(said, tmp_path):
    assert cleaned(said, machine(tmp_path, ROOT), {}) == said


def test_this_machine_s_name_is_taken_out_where_it_is_no_common_word(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-17")
    assert cleaned("ran on gpu-17, not gpu-178", [], {}) == "ran on ..., not gpu-178"
    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    assert cleaned("a vm, one of many", [], {}) == "a vm, one of many"


def test_a_file_is_named_from_the_study_or_the_workflow_else_by_its_name(tmp_path, monkeypatch):
    study, elsewhere = tmp_path / "study", tmp_path / "jane"
    study.mkdir()
    (tmp_path / "link").symlink_to(study)
    monkeypatch.chdir(tmp_path / "link")
    assert named("data/tea.jsonl") == "data/tea.jsonl"
    assert named(study / "tea.jsonl") == named(tmp_path / "link/tea.jsonl") == "tea.jsonl"
    assert named(ROOT / "data/neutral.jsonl") == "data/neutral.jsonl"
    assert named(elsewhere / "tea.jsonl") == "tea.jsonl"
    config = {
        "behaviors": {
            "tea": {"items": f"{elsewhere}/a.jsonl"},
            "mate": {"items": f"{elsewhere}/mate/a.jsonl"},
            "juice": {"items": f"{study}/a.jsonl"},
        },
        "steering": {"cost": {"neutral": "n.jsonl"}},
        "lookups": {"corpus": {"source": "stdlib"}},
        "model": {"path": f"{elsewhere}/weights"},
        "verdict": {"published": {}},
    }
    # two files of one name keep two names, those of an archive
    assert list(data_names(config).values()) == [
        *("data/behaviors.tea.items.jsonl", "data/behaviors.mate.items.jsonl"),
        *("a.jsonl", "n.jsonl"),
    ]
    shown = portable(config)
    assert str(tmp_path) not in str(shown)
    assert shown["model"]["path"] == "weights"
    assert config["model"]["path"] == f"{elsewhere}/weights"


@pytest.fixture
def workflow(tmp_path):
    """A folder with some of the workflow's files, and some that a user put beside them."""
    folder = tmp_path / "workflow"
    for name in (
        *("Snakefile", "rules/a.smk", "scripts/a.py", "profiles/default/config.yaml"),
        *("profiles/mine/notes.txt", "scripts/private.ignored", "docs/draft.md", "results/x.csv"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def names(workflow):
    return {path.relative_to(workflow).as_posix() for path in workflow_files(workflow)}


OWN = {"Snakefile", "rules/a.smk", "scripts/a.py", "profiles/default/config.yaml"}


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", folder, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def test_of_a_repository_what_is_tracked_is_the_workflow_and_nothing_beside_it(workflow):
    git(workflow, "init", "-q")
    (workflow / ".gitignore").write_text("*.ignored\n")
    git(workflow, "add", *OWN, ".gitignore")
    git(workflow, "commit", "-qm", "a")
    assert names(workflow) == OWN
    # what somebody commits is theirs to share
    git(workflow, "add", "profiles/mine", "docs")
    assert names(workflow) == OWN | {"docs/draft.md"}


def test_outside_a_repository_only_the_profiles_that_the_workflow_brings_are_taken(workflow):
    assert names(workflow) == OWN | {"docs/draft.md", "scripts/private.ignored"}
    brought = {f"profiles/{path.parent.name}" for path in ROOT.glob("profiles/*/config.yaml")}
    assert brought == {folder for folder in FOLDERS if folder.startswith("profiles")}


def test_a_copy_within_another_project_is_not_that_project_s(workflow):
    git(workflow.parent, "init", "-q")
    assert names(workflow) == OWN | {"docs/draft.md", "scripts/private.ignored"}


def test_a_repository_that_git_cannot_read_is_not_packed(workflow):
    (workflow / ".git").write_text("gitdir: /nowhere/at/all\n")
    with pytest.raises(UserError, match="git does not say which files are tracked"):
        names(workflow)
