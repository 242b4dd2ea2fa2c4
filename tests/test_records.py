"""Records of what made a file: damage is named, other settings are refused, numbers are traced."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from study import snakemake, tables

from steerpaper.errors import UserError
from steerpaper.workflow.files import sha256
from steerpaper.workflow.job import Job, recorded
from steerpaper.workflow.records import (
    checked,
    portable,
    record_of,
    record_path,
    settings_digest,
    study_of,
)
from steerpaper.workflow.trace import chain, ranges, refuse_other_model, refuse_stale, traced


def job(folder, rule, inputs, outputs, settings=None, made=None):
    """A job of a study in `folder`."""
    return Job(
        input=inputs,
        output=outputs,
        params=settings or {},
        wildcards={},
        threads=1,
        log="results/tiny/logs/one.log",
        rule=rule,
        code={"one.py": "0"},
        made=made or {},
    )


def write(text):
    """A script's main that writes one text."""

    def main(job):
        Path(job.output["out"]).parent.mkdir(parents=True, exist_ok=True)
        Path(job.output["out"]).write_text(text)

    return main


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A study of two jobs, the second made from the first."""
    monkeypatch.chdir(tmp_path)
    scores, table = "results/tiny/scores.csv", "results/tiny/tables/table.csv"
    recorded(write("a,b"), job(tmp_path, "score", {}, {"out": scores}, {"layers": [1]}))
    recorded(write("a"), job(tmp_path, "table", {"scores": scores}, {"out": table}))
    return Path("results/tiny"), scores, table


def test_a_file_has_a_record_of_its_rule_settings_code_and_inputs(two):
    study, scores, table = two
    record = record_of(study, table)
    assert record["rule"] == "table"
    assert record["code"] == {"one.py": "0"}
    assert record["inputs"] == {scores: record_of(study, scores)["digest"]}
    assert record_of(study, scores)["settings"] == {"layers": [1]}
    assert [path for path, _, _ in chain(study, [table])] == [table, scores]


@pytest.mark.parametrize("damage", ["", "a", "a,c", "a,b\n"])
def test_a_damaged_file_is_named_and_set_aside(two, damage, tmp_path):
    _, scores, table = two
    Path(scores).write_text(damage)
    with pytest.raises(UserError, match=r"scores\.csv: is not what the job of rule score wrote"):
        recorded(write("a"), job(tmp_path, "table", {"scores": scores}, {"out": table}))
    assert not Path(scores).exists()
    assert Path(f"{scores}.damaged").read_text() == damage


def test_a_file_that_another_job_has_set_aside_is_named(two):
    study, scores, _ = two
    Path(scores).unlink()
    with pytest.raises(UserError, match=r"scores\.csv: is gone; the same command makes it anew"):
        checked(study, [scores])


def test_a_file_that_was_made_under_other_settings_is_refused(two, tmp_path):
    _, scores, table = two
    made = {"scores": {"layers": [1, 2]}}
    with pytest.raises(UserError, match=r"by rule score with layers = \[1\], but .* \[1, 2\]"):
        recorded(write("a"), job(tmp_path, "table", {"scores": scores}, {"out": table}, made=made))
    made["scores"]["layers"] = [1]
    recorded(write("a"), job(tmp_path, "table", {"scores": scores}, {"out": table}, made=made))


def test_the_report_refuses_a_table_that_is_not_of_this_configuration_or_of_these_scores(two):
    study, scores, table = two
    refuse_stale(study, [table], {"score": settings_digest({"layers": [1]})})
    with pytest.raises(UserError, match=r"scores\.csv: was made by rule score under other"):
        refuse_stale(study, [table], {"score": settings_digest({"layers": [2]})})
    recorded(write("a,c"), job(None, "score", {}, {"out": scores}, {"layers": [1]}))
    with pytest.raises(UserError, match=r"table\.csv: was made from another results/tiny/scores"):
        refuse_stale(study, [table], {})


def test_the_report_refuses_a_model_whose_files_are_not_those_that_were_fetched(tmp_path):
    weights, manifest = tmp_path / "model.safetensors", tmp_path / "manifest.json"
    weights.write_bytes(b"weights")
    manifest.write_text(json.dumps({"files": {weights.name: sha256(weights)}}))
    refuse_other_model(manifest)
    weights.write_bytes(b"Weights")
    with pytest.raises(UserError, match=r"model\.safetensors: is not the file that was fetched"):
        refuse_other_model(manifest)
    weights.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: is not the file that was fetched"):
        refuse_other_model(manifest)


def test_a_record_that_cannot_be_read_is_removed_and_named(two):
    study, scores, _ = two
    record_path(study, scores).write_text("{")
    with pytest.raises(UserError, match=r"scores\.csv\.json: cannot be read as a record"):
        checked(study, [scores])
    assert checked(study, [scores])


def test_a_failed_job_leaves_no_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def main(job):
        raise UserError("no")

    with pytest.raises(UserError):
        recorded(main, job(tmp_path, "score", {}, {"out": "results/tiny/scores.csv"}))
    assert not list(tmp_path.rglob("*.json"))


def test_records_lie_with_their_study_and_a_model_s_where_studies_share_it():
    study = Path("results/tiny")
    assert study_of("results/tiny/logs/a/b.log") == study
    assert study_of("log") is None
    assert record_path(study, "results/tiny/a/b.csv") == study / "records/a/b.csv.json"
    assert record_path(study, "figures/tiny/b.png") == study / "records/figures/tiny/b.png.json"
    shared = Path("results/.records/models/m/manifest.json.json")
    assert record_path(study, "results/models/m/manifest.json") == shared


def test_a_record_holds_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {
        f"{tmp_path}/a.csv": [f"{ROOT}/data/b.jsonl", "/data/secret/c.txt"],
        "results/a.csv": 1,
    }
    assert portable(said) == {"a.csv": ["data/b.jsonl", "c.txt"], "results/a.csv": 1}


def test_line_numbers_are_told_as_ranges():
    assert ranges({1, 2, 3, 7, 9, 10}) == "1-3, 7, 9-10"
    assert ranges(set()) == ""


@pytest.fixture(scope="module")
def finished(finished_study, tmp_path_factory):
    folder, config, _ = finished_study
    copy = tmp_path_factory.mktemp("traced")
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    return copy, config


def trace(folder, asked):
    """What `python -m steerpaper trace` prints."""
    return subprocess.run(
        [sys.executable, "-m", "steerpaper", "trace", asked],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
    )


@pytest.mark.workflow
def test_every_figure_is_traced_to_raw_lines_model_code_and_seed(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.chdir(folder)
    figures = sorted(Path("figures/tiny").glob("*.png"))
    assert figures
    for path in figures:
        lines, sound = traced(str(path), ROOT)
        told = "\n".join(lines)
        assert sound, told
        assert "NOT as its job wrote it" not in told
        assert "has changed since" not in told
        assert "NOT as it was fetched" not in told
        assert "manifest.json" in told, path
        assert "model.safetensors  " in told, path
        if not path.name.startswith("lookups"):
            assert '"seed": 1' in told, path
    process = trace(folder, "layer_sweep")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "  one.jsonl: 1-16\n" in process.stdout
    assert "by sweep (one, 0, 1)" in process.stdout
    assert "steering/sweep.py" in process.stdout
    assert "torch 2." in process.stdout


@pytest.mark.workflow
def test_what_no_job_made_cannot_be_traced(finished):
    process = trace(finished[0], "figures/tiny/none.png")
    assert process.returncode == 1
    assert process.stderr.startswith("figures/tiny/none.png: no record of what made it")


@pytest.mark.workflow
def test_a_flipped_byte_is_found_by_the_trace_and_remade_by_the_same_command(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    before = tables(tmp_path)
    path = tmp_path / "results/tiny/vectors/one.answers.steering.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    traced = trace(tmp_path, "dose_response")
    assert traced.returncode == 1
    assert f"{path.relative_to(tmp_path)}" in traced.stdout.partition("NOT as its job")[0]
    scores = tmp_path / "results/tiny/steering/one.answers.sweep.parquet"
    scores.unlink()
    target = str(scores.relative_to(tmp_path))
    process = snakemake(tmp_path, finished[1], target)
    assert process.returncode == 1
    assert (
        "one.answers.steering.safetensors: is not what the job of rule steering_vectors wrote"
        in (process.stderr)
    )
    assert "Traceback" not in process.stderr
    process = snakemake(tmp_path, finished[1], target)
    assert process.returncode == 0, process.stderr
    assert tables(tmp_path)[target] == before[target]


@pytest.mark.workflow
def test_the_study_is_described_as_an_ro_crate(finished):
    from rocrate.rocrate import ROCrate

    folder = finished[0]
    # its paths are from the folder that the study is made in, and from an archive's root
    shutil.copy2(folder / "results/tiny/ro-crate-metadata.json", folder)
    crate = ROCrate(folder)
    run = crate.get("#run")
    made = {entity.id for entity in run["result"]}
    assert "figures/tiny/layer_sweep.png" in made
    provenance = json.loads((folder / "results/tiny/provenance.json").read_text())
    assert {entity.id: entity["sha256"] for entity in run["result"]} == {
        path: digest for path, digest in provenance["files"].items() if path in made
    }
    assert {"one.jsonl", "#model"} <= {entity.id for entity in run["object"]}
