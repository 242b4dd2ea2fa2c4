"""Configuration files are looked at before Snakemake takes what they say; the day is a setting."""

import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from study import make_study, planned, snakemake

from steerpaper.workflow.config import bases_of, check_file, validated

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


def test_a_file_goes_before_those_that_it_extends_and_they_before_the_default(
    tmp_path, model_folders
):
    config = make_study(tmp_path, model_folders["llama"])
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases/far.yaml").write_text(
        "study: far\nmodel: {name: far}\nsteering: {contrasts: [letters], behaviors: [two]}\n"
    )
    (tmp_path / "bases/near.yaml").write_text(
        "extends: far.yaml\nstudy: near\nsteering: {behaviors: [one]}\n"
    )
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: bases/near.yaml\nstudy: mine\n")
    assert [path.name for path in bases_of(mine)] == ["far.yaml", "near.yaml"]
    asked = ["steering", "--dry-run", "--configfile", str(mine)]
    for study, more in {"mine": [], "typed": ["--config", "study=typed"]}.items():
        process = snakemake(tmp_path, config, *asked, *more)
        assert process.returncode == 0, process.stdout + process.stderr
        plan = process.stdout + process.stderr
        assert f"results/{study}/vectors/one.letters.safetensors" in plan
        assert "results/models/far/manifest.json" in plan
        assert not any(text in plan for text in ("two.letters", "one.answers", "results/near"))


def test_what_a_file_extends_amiss_is_named_and_runs_nothing(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: none.yaml\n")
    process = snakemake(tmp_path, config, "--dry-run", "--configfile", str(mine))
    assert refused(process, "mine.yaml: extends: no file at ", tmp_path)
    process = snakemake(tmp_path, config | {"extends": "mine.yaml"}, "--dry-run")
    assert refused(process, "config.yaml: extends: is for a file that is given by", tmp_path)


@pytest.mark.parametrize(
    ("made", "left_out"),
    [
        ("lookups", {"prompts", "vectors", "sweep", "steering_tables", "plot_layer_sweep"}),
        ("steering", {"corpus", "explanations", "lookups_tables", "plot_lookups_ablations"}),
    ],
)
def test_a_study_that_is_left_out_is_not_made(made, left_out, tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    whole = planned(tmp_path, config)
    plan = planned(tmp_path, config | {"studies": [made]})
    assert left_out <= whole - plan
    assert {"manuscript", "report_pages", "crate"} <= plan
    other = ({"steering", "lookups"} - {made}).pop()
    assert planned(tmp_path, None, other) <= {other}


def test_the_files_that_come_with_the_project_are_well_formed():
    for path in [ROOT / "config.yaml", *(ROOT / "studies").rglob("*.yaml")]:
        check_file(path)


def test_a_day_without_quotation_marks_is_the_same_day(monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "config.yaml").read_text()
    config = yaml.safe_load(text.replace('"2024-07-26"', "2024-07-26"))
    assert validated(config, ROOT / "config.schema.yaml")["model"]["date"] == "2024-07-26"


@pytest.mark.long
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
    rendered = {"prompts", "cost_prompts", "prompt_kinds_prompts", "benchmark_prompts"}
    assert changed == rendered | {"explanations", "ratings", "provenance", "archive"}
    for name in changed:
        assert "2025-02-03" in str(after[name]["params"]), name


def test_the_day_is_in_what_the_prompts_of_a_study_are_made_with(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    config["model"]["date"] = "2025-02-03"
    target = "results/tiny/prompts/one.open.jsonl"
    assert snakemake(tmp_path, config, target).returncode == 0
    config["model"]["date"] = "2025-02-04"
    assert planned(tmp_path, config, target) == {"prompts"}
