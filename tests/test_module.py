"""Another workflow uses the rules as a module, as docs/module.md shows."""

import copy
import os
import shutil
import subprocess

import pytest
import yaml
from conftest import ROOT
from outer import block, run_here
from study import make_study

from steerpaper.workflow.config import validated

pytestmark = pytest.mark.workflow


def test_two_modules_have_their_own_configurations_and_folders(tmp_path):
    (tmp_path / "model").mkdir()
    study = make_study(tmp_path, "model")
    study["steering"] |= {"behaviors": ["one"], "contrasts": ["answers"]}
    other = copy.deepcopy(study)
    other["steering"] |= {"contrasts": ["letters"]}
    modules = []
    for name, config in (("first", study), ("second", other)):
        modules.append(
            f"module {name}:\n    snakefile: {str(ROOT / 'Snakefile')!r}\n    config: {config!r}\n"
            f"    prefix: '{name}'\n\n\nuse rule * from {name} as {name}_*\n"
        )
    (tmp_path / "Snakefile").write_text("\n\n".join(modules))
    process = run_here(tmp_path, "first_steering_tables", "second_steering_tables", "--dry-run")
    assert process.returncode == 0, process.stderr
    plan = process.stdout + process.stderr
    assert "first/results/tiny/vectors/one.answers.safetensors" in plan
    assert "second/results/tiny/vectors/one.letters.safetensors" in plan
    assert "first/results/tiny/vectors/one.letters" not in plan
    assert "second/results/tiny/vectors/one.answers" not in plan


def test_the_page_s_configuration_is_one(tmp_path, monkeypatch):
    from snakemake.utils import update_config

    items = (ROOT / "data/behaviors/warmth.jsonl").read_text()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tea.jsonl").write_text(items)
    monkeypatch.chdir(tmp_path)
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(study, yaml.safe_load(block("yaml"))["steerpaper"])
    config = validated(study, ROOT / "config.schema.yaml")
    assert config["behaviors"]["tea"]["items"] == "data/tea.jsonl"


def test_a_module_from_a_url_is_refused_with_the_way_out(tmp_path):
    repository = tmp_path / "repository"
    (repository / "rules").mkdir(parents=True)
    for name in ("Snakefile", "rules/configfiles.smk", "rules/common.smk"):
        shutil.copy(ROOT / name, repository / name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", repository]
    # where Snakemake keeps what it has fetched: with the tag there, it asks no server
    cache = "snakemake/snakemake/source-cache/snakemake-git-cache/github.com/someone/steerpaper"
    for arguments in (
        ["init", "-q"],
        ["add", "."],
        ["commit", "-q", "-m", "all"],
        ["tag", "v1"],
        ["clone", "-q", "--bare", ".", tmp_path / cache],
    ):
        subprocess.run([*git, *arguments], check=True)
    (tmp_path / "Snakefile").write_text(
        "module steerpaper:\n"
        "    snakefile: github('someone/steerpaper', path='Snakefile', tag='v1')\n"
        "    config: {}\n\n\nuse rule * from steerpaper\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    process = run_here(tmp_path, "--dry-run", env=environment)
    assert process.returncode == 1
    assert "clone it and name the clone's Snakefile" in process.stdout + process.stderr
