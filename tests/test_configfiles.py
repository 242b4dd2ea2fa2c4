"""Configuration files are looked at before Snakemake takes what they say; the day is a setting."""

import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from study import make_study, planned, snakemake

from steerpaper.workflow.config import check_file, validated

pytestmark = pytest.mark.workflow


def refused(process, message, folder):
    """Whether a run ended with a message, no traceback, and no results."""
    said = process.stdout + process.stderr
    assert process.returncode != 0
    assert message in said, said
    assert "Traceback" not in said
    return not (folder / "results").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 2\n", "line {line}: the key 'seed' stands twice, first in line"),
        ("__use_yte__: true\ndevice: ?open('ran', 'w').name\n", "__use_yte__ is not allowed"),
        ("dtype: " + "[" * 20_000, "nested too deeply"),
        ("dtype: !!int 'many'\n", "line {line}: 'many' is no int"),
    ],
)
def test_what_the_study_s_file_says_amiss_is_named_and_runs_nothing(
    text, message, tmp_path, model_folders
):
    path = tmp_path / "config.yaml"
    written = yaml.safe_dump(make_study(tmp_path, model_folders["llama"]))
    path.write_text(written + text)
    message = message.format(line=written.count("\n") + 1)
    assert refused(snakemake(tmp_path, None, "--dry-run"), message, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_key_that_stands_twice_in_an_overlay_is_refused(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    (tmp_path / "mine.yaml").write_text("steering:\n  layer: 1\nseed: 1\nsteering:\n  layer: 2\n")
    process = snakemake(tmp_path, config, "--dry-run", "--configfile", str(tmp_path / "mine.yaml"))
    assert refused(process, "mine.yaml, line 4: the key 'steering' stands twice", tmp_path)


def test_the_files_that_come_with_the_project_are_well_formed():
    for path in [ROOT / "config.yaml", *(ROOT / "studies").glob("*.yaml")]:
        check_file(path)


def test_a_day_without_quotation_marks_is_the_same_day(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "config.yaml").read_text()
    config = yaml.safe_load(text.replace('"2024-07-26"', "2024-07-26"))
    assert validated(config, ROOT / "config.schema.yaml")["model"]["date"] == "2024-07-26"


def test_another_day_runs_what_renders_again_and_nothing_else(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    before = rules_of(tmp_path, config)
    config["model"]["date"] = "2025-02-03"
    after = rules_of(tmp_path, config)
    changed = {
        name
        for name in before
        if before[name]["params"].get("settings") != after[name]["params"].get("settings")
    }
    assert changed == {"prompts", "cost_prompts", "explanations", "provenance", "archive"}
    for name in changed:
        assert "2025-02-03" in str(after[name]["params"]), name


def test_the_day_is_in_what_the_prompts_of_a_study_are_made_with(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    config["model"]["date"] = "2025-02-03"
    target = "results/tiny/prompts/one.open.jsonl"
    assert snakemake(tmp_path, config, target).returncode == 0
    config["model"]["date"] = "2025-02-04"
    assert planned(tmp_path, config, target) == {"prompts"}
