"""A study that another workflow used as a module, and another person gets as one file."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from outer import block, run_here
from snakemake.utils import update_config
from study import snakemake

pytestmark = pytest.mark.workflow

ARCHIVE = "results/tiny/tiny.tar.gz"
SECRET = "sk-very-secret-0123456789"
# what the figures' environment has not
MODEL_ONLY = ("torch", "transformers", "nnsight", "accelerate", "gguf", "openai", "sklearn")


@pytest.fixture(scope="module")
def outer(finished_study, tmp_path_factory, model_folders):
    """Where the Snakefile of docs/module.md ran a tiny study, and the module packed its archive.

    Most of the study was made by another run, and is said to be up to date: the module runs one
    rule with a model, the summaries and figures that follow, and the outer workflow's own rule.
    """
    finished, config, _ = finished_study
    folder = tmp_path_factory.mktemp("outer")
    (folder / "steerpaper").symlink_to(ROOT)
    (folder / "model").symlink_to(model_folders["llama"])
    study = config | {"model": config["model"] | {"path": "model"}}
    for name in ("one.jsonl", "one.yaml", "two.json"):
        shutil.copy2(finished / name, folder / name)
    (folder / "Snakefile").write_text(block("python"))
    (folder / "config.yaml").write_text(yaml.safe_dump({"steerpaper": study}))
    before = {path.name for path in folder.iterdir()}
    for kind in ("results", "figures"):
        shutil.copytree(finished / kind, folder / "steering" / kind, symlinks=True)
    process = run_here(folder, "steerpaper_all", "--touch")
    assert process.returncode == 0, process.stdout + process.stderr
    # what is lost is made again, and what it was made from
    results = folder / "steering/results/tiny"
    lost = ["steering/one.samples.parquet", "tables/completions.csv", "tables/layer_sweep.csv"]
    for path in lost:
        (results / path).unlink()
    process = run_here(folder, "strongest_block", "steerpaper_archive")
    assert process.returncode == 0, process.stdout + process.stderr
    ran = jobs(process)
    assert {"steerpaper_completions", "steerpaper_steering_tables", "strongest_block"} <= ran
    assert "steerpaper_sweep" not in ran
    return folder, study, {path.name for path in folder.iterdir()} - before


@pytest.fixture(scope="module")
def shared(outer, tmp_path_factory):
    """The same study where the workflow is run by itself: `snakemake archive` has only to pack."""
    theirs, changes, _ = outer
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, changes)
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(theirs / "steering", folder, symlinks=True, dirs_exist_ok=True)
    (folder / "steering-archive.tar.gz").write_bytes((folder / ARCHIVE).read_bytes())
    (folder / ARCHIVE).unlink()
    for name in ("one.jsonl", "one.yaml", "two.json"):
        shutil.copy2(theirs / name, folder / name)
    (folder / "model").symlink_to((theirs / "model").resolve())
    process = snakemake(folder, config, "archive")
    assert process.returncode == 0, process.stdout + process.stderr
    assert jobs(process) == {"archive"}
    return folder, config


def test_the_page_s_rule_makes_its_table_from_the_module_s(outer):
    folder, _, made = outer
    sweep = pd.read_csv(folder / "steering/results/tiny/tables/layer_sweep.csv")
    vectors = sweep[sweep["direction"] == "behavior"]
    strongest = pd.read_csv(folder / "strongest_block.csv")
    highest = vectors.groupby(["behavior", "contrast"])["slope"].max()
    assert len(highest) == 4
    assert list(strongest["slope"]) == list(highest)
    assert (folder / "steering/figures/tiny/layer_sweep.pdf").stat().st_size > 100
    assert (folder / "steering/results/models/tiny/manifest.json").exists()
    assert (folder / "steering/results/tiny/logs/steering_tables.log").exists()
    # the prefix is for what is made, and all that the module made is below it
    assert made == {"steering", "strongest_block.csv", ".snakemake"}


def test_a_finished_module_has_nothing_to_be_done(outer):
    process = run_here(outer[0], "strongest_block", "steerpaper_all", "--dry-run")
    assert "Nothing to be done" in process.stdout + process.stderr


def test_the_archive_does_not_depend_on_where_and_by_whom_it_was_packed(shared):
    folder, _ = shared
    first = (folder / ARCHIVE).read_bytes()
    assert (folder / "steering-archive.tar.gz").read_bytes() == first
    for path in (folder / "results/tiny/tables").iterdir():
        os.utime(path, (1, 1))
    assert pack_again(folder).returncode == 0
    assert (folder / ARCHIVE).read_bytes() == first


def unpack(archive, where):
    # as the command of docs/sharing.md does
    subprocess.run(["tar", "-xzf", archive, "-C", where], check=True)
    return where / "tiny"


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def unpacked(shared, tmp_path):
    return unpack(shared[0] / ARCHIVE, tmp_path)


def without_model(folder):
    """An environment in which importing what only a model needs is an error."""
    for name in MODEL_ONLY:
        (folder / "none" / name).mkdir(parents=True)
        (folder / "none" / name / "__init__.py").write_text(f"raise ImportError('no {name} here')")
    return {**os.environ, "PYTHONPATH": str(folder / "none")}


def jobs(process):
    """The rules that a run or dry run names in its table of jobs."""
    _, _, stats = (process.stdout + process.stderr).partition("Job stats:")
    return {line.split()[0] for line in stats.partition("total")[0].splitlines()[3:] if line}


def test_it_holds_every_table_and_figure_and_nothing_of_the_model(shared, unpacked):
    folder, _ = shared
    packed = files(unpacked)
    for part in ("results/tiny/tables", "figures/tiny"):
        ours = {f"{part}/{name}": content for name, content in files(folder / part).items()}
        assert len(ours) > 15
        assert {name: packed.get(name) for name in ours} == ours
    assert "results/tiny/logs/vectors/one.log" in packed
    assert "results/tiny/benchmarks/vectors/one.tsv" in packed
    kinds = {Path(name).suffix for name in packed if name.startswith(("results", "figures"))}
    assert kinds <= {".csv", ".md", ".tex", ".log", ".tsv", ".pdf", ".png", ".json"}
    assert {name.split("/")[0] for name in packed} == {
        *("README.md", "Snakefile", "config.yaml", "ro-crate-metadata.json"),
        *("data", "figures", "results", "workflow"),
    }


def test_its_ro_crate_names_the_files_that_it_holds_with_their_digests(unpacked):
    from rocrate.rocrate import ROCrate

    described = [one for one in ROCrate(unpacked).get_entities() if one.get("sha256")]
    assert len(described) > 40
    for entity in described:
        content = (unpacked / entity.id).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entity["sha256"], entity.id


@pytest.mark.long
def test_every_figure_is_drawn_again_to_the_byte_where_there_is_no_torch(unpacked, tmp_path):
    present = run_here(unpacked, "figures", "--dry-run")
    assert "Nothing to be done" in present.stdout + present.stderr
    figures = files(unpacked / "figures")
    for path in (unpacked / "figures/tiny").iterdir():
        path.unlink()
    process = run_here(unpacked, "figures", env=without_model(tmp_path))
    assert process.returncode == 0, process.stderr
    assert len(jobs(process)) > 10
    assert all(rule.startswith(("plot_", "figures")) for rule in jobs(process)), jobs(process)
    assert files(unpacked / "figures") == figures


def test_nothing_before_the_tables_runs_whatever_the_file_times(unpacked):
    for path in (unpacked / "workflow").rglob("*"):
        os.utime(path)
    process = run_here(unpacked, "--dry-run")
    assert process.returncode == 0, process.stderr
    assert all(rule.startswith(("plot_", "figures", "all")) for rule in jobs(process))
    (unpacked / "results/tiny/tables/norms.csv").unlink()
    (unpacked / "figures/tiny/norms.pdf").unlink()
    process = run_here(unpacked, "figures", "--dry-run")
    assert process.returncode == 1
    said = process.stdout + process.stderr
    assert "Missing input files for rule plot_norms" in said
    assert "results/tiny/tables/norms.csv" in said


def test_its_configuration_and_raw_data_plan_the_whole_study_again(shared, unpacked):
    folder, config = shared
    again = unpacked / "again"
    again.mkdir()
    for name in ("config.yaml", "data"):
        (unpacked / name).rename(again / name)
    whole = jobs(snakemake(folder, config, "--dry-run", "--forceall"))
    process = run_here(
        unpacked, "--snakefile", "workflow/Snakefile", "--directory", "again", "--dry-run"
    )
    assert process.returncode == 0, process.stderr
    assert {"prompts", "sweep", "neurons"} < whole
    assert jobs(process) == whole


def pack_again(folder, **options):
    """Run the rule's script by itself from its job note, as on a debugger's machine."""
    note = "results/tiny/logs/archive.log.job.json"
    command = [sys.executable, ROOT / "scripts/archive.py", note]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


def test_it_names_no_folder_of_this_machine_and_no_secret(shared, tmp_path):
    folder, _ = shared
    elsewhere = json.loads((folder / "results/tiny/logs/archive.log.job.json").read_text())
    assert str(ROOT) in str(elsewhere)  # job notes do, so they must stay behind
    talking = folder / "results/tiny/logs/corpus.log"
    said = talking.read_text()
    home = tmp_path / "home" / "Jane Doe"
    environment = {**os.environ, "HOME": str(home), "OPENAI_API_KEY": SECRET}
    try:
        talking.write_text(
            f'{said}File "{home}/model.py", line 3\nkey={SECRET}\n{folder}/results/x.csv and '
            f"{ROOT}/scripts/corpus.py in {home}, /scratch/jane/weights.bin, /scratch/jane\n"
        )
        process = pack_again(folder, env=environment)
        assert process.returncode == 0, process.stderr
        packed = files(unpack(folder / ARCHIVE, tmp_path))
        log = packed["results/tiny/logs/corpus.log"].decode().removeprefix(said)
        assert log == (
            'File ".../model.py", line 3\nkey=<OPENAI_API_KEY>\n.../x.csv and '
            ".../corpus.py in ..., .../weights.bin, ...\n"
        )
        model = (folder / "model").resolve()
        for name, content in packed.items():
            for private in (home, SECRET, folder, ROOT, sys.prefix, Path.home(), model):
                assert str(private).encode() not in content, (name, private)
    finally:
        talking.write_text(said)
        assert pack_again(folder).returncode == 0


def test_a_full_disk_leaves_the_old_archive_and_no_half_of_a_new_one(shared):
    folder, _ = shared
    before = (folder / ARCHIVE).read_bytes()
    left = files(folder / "results/tiny").keys()

    def little_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    # byte code would be cut off too, and stay so
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = pack_again(folder, env=environment, preexec_fn=little_space)
    assert process.returncode != 0
    assert (folder / ARCHIVE).read_bytes() == before
    assert files(folder / "results/tiny").keys() == left
