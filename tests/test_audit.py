"""What the workflow reaches out to, as listed; and the lock's age."""

import importlib.util
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from conftest import ROOT
from reaches_out import as_table, listed, of_python, of_rules, places


def test_every_place_that_reaches_out_is_listed_with_its_reason_and_no_other():
    entries = [(entry["file"], entry["function"], entry["what"]) for entry in listed()]
    assert entries == sorted(set(entries)), "sorted, each once"
    missing, gone = set(places()) - set(entries), set(entries) - set(places())
    assert not missing, f"say in tests/reaches_out.yaml why: {sorted(missing)}"
    assert not gone, f"no longer there: {sorted(gone)}"
    assert all(len(entry["why"].split()) >= 4 for entry in listed())


def test_the_list_is_a_table_for_the_reader():
    assert len(as_table().strip().splitlines()) == 2 + len(listed())


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import subprocess\nsubprocess.run([])", "subprocess.run"),
        ("from subprocess import Popen as start\nstart([])", "subprocess.Popen"),
        ("import os\nos.system('x')", "os.system"),
        ("from os import execvp\nrunner = execvp", "os.execvp"),
        ("import socket\nsocket.create_connection(('a', 1))", "socket.create_connection"),
        ("from urllib.request import urlopen\nurlopen('x')", "urllib.request.urlopen"),
        ("import http.client\nhttp.client.HTTPConnection('a')", "http.client.HTTPConnection"),
        ("import httpx\nwith httpx.Client() as c: pass", "httpx.Client"),
        ("from datasets import load_dataset\nload_dataset('x')", "datasets.load_dataset"),
        ("import torch\ntorch.load('x')", "torch.load"),
        ("import pickle\npickle.loads(b'')", "pickle.loads"),
        ("import yaml\nyaml.load('x', yaml.SafeLoader)", "yaml.load"),
        ("import numpy as np\nnp.load('x')", "numpy.load"),
        ("import pandas as pd\npd.read_pickle('x')", "pandas.read_pickle"),
        ("eval('1')", "eval"),
        ("exec('1')", "exec"),
        ("__import__('os')", "__import__"),
        ("f('x', trust_remote_code=True)", "trust_remote_code"),
        ("f('x', allow_pickle=flag)", "allow_pickle"),
        ("f('x', shell=True)", "shell"),
    ],
)
def test_each_way_of_reaching_out_is_seen_wherever_it_stands(source, what):
    inside = "\n".join(f"        {line}" for line in source.splitlines())
    assert ("", what) in of_python(source)
    assert ("A.f", what) in of_python(f"class A:\n    def f(self):\n{inside}")


def test_what_only_looks_like_it_is_not_taken_for_it():
    harmless = (
        "import re, subprocess, yaml\nmodel.eval()\nre.compile('eval')\nyaml.safe_load('x')\n"
        "try: pass\nexcept subprocess.CalledProcessError: pass\nrequests = []\nrequests.append(1)\n"
        "load(trust_remote_code=False)\n'os.system'\n"
    )
    assert of_python(harmless) == set()


def test_a_rule_s_shell_is_seen():
    rules = "rule one:\n    output: 'a'\n    shell:\n        'touch a'\n\nrule two:\n    run:\n"
    assert of_rules(f"{rules}        x = 1\n") == {("one", "shell:"), ("two", "run:")}
    assert of_rules("import os\nrule a:\n    params: os.popen('x')\n") == {("a", "os.popen")}
    assert of_rules("rule a:\n    input: 'run'\n    params: shell=1\n") == set()


# the lock


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", ROOT / "envs/audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NOW = datetime(2030, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "days"),
    [
        (timedelta(0), 0),
        (timedelta(hours=23, minutes=59), 0),
        (timedelta(days=1), 1),
        (timedelta(days=365, hours=5), 365),
        (-timedelta(days=3), 0),
    ],
)
def test_the_age_is_whole_days_and_never_negative(audit, passed, days):
    assert audit.days_between(NOW - passed, NOW) == days


def test_the_age_counts_across_time_zones(audit):
    changed = datetime.fromisoformat("2030-02-28T23:00:00-05:00")
    assert audit.days_between(changed, NOW) == 1 - 1
    assert audit.days_between(changed, NOW + timedelta(hours=16)) == 1


LOCKED = (
    "# made by hand\ntorch==2.13.0 \\\n    --hash=sha256:00\nnumpy==2.0 ; python_version > '3'\n"
)


def test_the_lock_changed_when_it_was_committed_or_edited_since(audit, tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCKED)
    os.utime(lock, (NOW.timestamp(), NOW.timestamp()))
    assert audit.locked(lock) == ["torch==2.13.0", "numpy==2.0"]
    assert audit.changed_at(lock) == NOW
    environment = {**os.environ, "GIT_COMMITTER_DATE": "2029-12-31T12:00:00+00:00"}
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", tmp_path]
    for arguments in (["init", "-q"], ["add", "lock.txt"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *arguments], check=True, env=environment)
    assert audit.age(lock, NOW) == "lock.txt: 2 packages, last changed 2029-12-31, 60 days ago"
    lock.write_text(LOCKED + "scipy==1.0\n")
    os.utime(lock, (NOW.timestamp(), NOW.timestamp()))
    assert audit.age(lock, NOW).endswith("3 packages, last changed 2030-03-01, 0 days ago")


FOUND = {
    "dependencies": [
        {"name": "torch", "version": "2.13.0", "vulns": []},
        {"name": "numpy", "version": "2.0", "vulns": [{"id": "X-1", "fix_versions": ["2.1"]}]},
    ]
}


def stand_in(folder, said):
    """A program in pip-audit's place."""
    program = folder / "program.py"
    program.write_text(f"import sys\nprint({said!r})\nsys.exit(1)\n")
    return [sys.executable, str(program)]


def test_faults_are_named_and_a_database_that_is_not_there_is_no_fault(audit, tmp_path):
    packages = audit.audited(stand_in(tmp_path, json.dumps(FOUND)), tmp_path / "lock.txt")
    assert audit.faults(packages) == ["numpy 2.0: X-1, mended in 2.1"]
    assert audit.audited(stand_in(tmp_path, "no network"), tmp_path / "lock.txt") is None


def test_make_audit_says_the_age_and_does_not_fail_without_pip_audit(tmp_path):
    run = [sys.executable, "-S", ROOT / "envs/audit.py"]
    done = subprocess.run(run, capture_output=True, text=True, env={"PATH": os.defpath})
    assert done.returncode == 0, done.stderr
    age, how = done.stdout.splitlines()
    assert age.startswith("lock.txt: ")
    assert age.endswith("days ago")
    assert "pipx install pip-audit" in how
