"""Another workflow uses the rules as a module, as docs/module.md shows."""

import copy
import re
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from study import make_study

from steerpaper.config import validated

PAGE = (ROOT / "docs/module.md").read_text()


def block(language):
    """The page's first block in a language."""
    return re.search(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S).group(1)


def snakemake(folder, *arguments):
    command = [
        sys.executable,
        "-m",
        "snakemake",
        *arguments,
        "--cores",
        "1",
        "--resources",
        "gpu=1",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def outer(tmp_path_factory, model_folders):
    """A folder with the page's Snakefile, a clone beside it, and a tiny study's configuration."""
    folder = tmp_path_factory.mktemp("outer")
    (folder / "steerpaper").symlink_to(ROOT)
    (folder / "model").symlink_to(model_folders["llama"])
    study = make_study(folder, "model")
    study["steering"] |= {"behaviors": ["one"], "contrasts": ["answers"]}
    (folder / "Snakefile").write_text(block("python"))
    (folder / "config.yaml").write_text(yaml.safe_dump({"steerpaper": study}))
    return folder, study


def test_the_page_s_example_makes_its_table_from_the_module_s(outer):
    folder, _ = outer
    before = {path.name for path in folder.iterdir()}
    process = snakemake(folder)
    assert process.returncode == 0, process.stderr
    sweep = pd.read_csv(folder / "steering/results/tiny/tables/layer_sweep.csv")
    vectors = sweep[sweep["direction"] == "behavior"]
    strongest = pd.read_csv(folder / "strongest_block.csv")
    assert list(strongest["slope"]) == [vectors["slope"].max()]
    assert (folder / "steering/figures/tiny/layer_sweep.pdf").stat().st_size > 100
    assert (folder / "steering/results/models/tiny/manifest.json").exists()
    assert (folder / "steering/results/tiny/logs/steering_tables.log").exists()
    # the prefix is for what is made, and all that is made is below it
    left = {"steering", "strongest_block.csv", ".snakemake"}
    assert {path.name for path in folder.iterdir()} == before | left

    again = snakemake(folder, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_two_modules_have_their_own_configurations_and_folders(outer, tmp_path):
    folder, study = outer
    other = copy.deepcopy(study)
    other["steering"] |= {"contrasts": ["letters"]}
    modules = []
    for name, config in (("first", study), ("second", other)):
        modules.append(
            f"module {name}:\n    snakefile: 'steerpaper/Snakefile'\n    config: {config!r}\n"
            f"    prefix: '{name}'\n\n\nuse rule * from {name} as {name}_*\n"
        )
    (folder / "Two").write_text("\n\n".join(modules))
    process = snakemake(
        folder, "first_steering_tables", "second_steering_tables", "--snakefile", "Two", "--dry-run"
    )
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


def test_a_module_that_is_not_on_disk_is_refused_with_the_way_out(tmp_path):
    clone = tmp_path / "clone"
    (clone / "rules").mkdir(parents=True)
    for name in ("Snakefile", "rules/common.smk"):
        (clone / name).write_text((ROOT / name).read_text())
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", clone]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["tag", "v1"]):
        subprocess.run([*git, *arguments], check=True)
    (tmp_path / "Snakefile").write_text(
        f"module steerpaper:\n    snakefile: gitfile({str(clone)!r}, path='Snakefile', tag='v1')\n"
        "    config: {}\n\n\nuse rule * from steerpaper\n"
    )
    process = snakemake(tmp_path, "--dry-run")
    assert process.returncode == 1
    assert "clone it and name the clone's Snakefile" in process.stderr
