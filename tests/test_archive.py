"""One file from which another person draws every figure, without a model, and learns no secret."""

import hashlib
import json
import os
import resource
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from study import make_study, snakemake

from steerpaper.archive import TIME, cleaned, machine, pack, refuse_secrets, secrets, shareable
from steerpaper.config import validated
from steerpaper.errors import UserError

ARCHIVE = "results/tiny/tiny.tar.gz"
SECRET = "sk-very-secret-0123456789"
# what the figures' environment has not
MODEL_ONLY = ("torch", "transformers", "nnsight", "accelerate", "gguf", "openai", "sklearn")


@pytest.fixture(scope="module")
def made(tmp_path_factory, model_folders):
    """A folder where `snakemake archive` made a tiny study, from nothing, and its configuration."""
    folder = tmp_path_factory.mktemp("somebody")
    config = make_study(folder, model_folders["llama"])
    config["steering"] |= {"behaviors": ["one"], "contrasts": ["answers"]}
    process = snakemake(folder, config, "archive")
    assert process.returncode == 0, process.stderr
    return folder, config


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
def unpacked(made, tmp_path):
    return unpack(made[0] / ARCHIVE, tmp_path)


def without_model(folder):
    """An environment in which importing what only a model needs is an error."""
    for name in MODEL_ONLY:
        (folder / "none" / name).mkdir(parents=True)
        (folder / "none" / name / "__init__.py").write_text(f"raise ImportError('no {name} here')")
    return {**os.environ, "PYTHONPATH": str(folder / "none")}


def run_here(folder, *arguments, **options):
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "1"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


def jobs(process):
    """The rules that a run or dry run names in its table of jobs."""
    _, _, stats = (process.stdout + process.stderr).partition("Job stats:")
    return {line.split()[0] for line in stats.partition("total")[0].splitlines()[3:] if line}


def test_it_holds_every_table_and_figure_and_nothing_of_the_model(made, unpacked):
    folder, _ = made
    packed = files(unpacked)
    for part in ("results/tiny/tables", "figures/tiny"):
        ours = {f"{part}/{name}": content for name, content in files(folder / part).items()}
        assert len(ours) > 15
        assert {name: packed.get(name) for name in ours} == ours
    assert "results/tiny/logs/vectors/one.answers.log" in packed
    assert "results/tiny/benchmarks/vectors/one.answers.tsv" in packed
    kinds = {Path(name).suffix for name in packed if name.startswith(("results", "figures"))}
    assert kinds == {".csv", ".md", ".tex", ".log", ".tsv", ".pdf", ".png"}
    assert {name.split("/")[0] for name in packed} == {
        *("README.md", "Snakefile", "config.yaml"),
        *("data", "figures", "results", "workflow"),
    }


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
    assert "Missing input files for rule plot_norms" in process.stderr
    assert "results/tiny/tables/norms.csv" in process.stderr


def test_its_configuration_and_raw_data_plan_the_whole_study_again(made, unpacked):
    folder, config = made
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


def test_two_archives_of_the_same_results_are_the_same_file(made):
    folder, config = made
    before = hashlib.sha256((folder / ARCHIVE).read_bytes()).hexdigest()
    for path in (folder / "results/tiny/tables").iterdir():
        os.utime(path, (1, 1))
    process = snakemake(folder, config, "archive", "--rerun-triggers", "params", "-R", "archive")
    assert process.returncode == 0, process.stderr
    assert jobs(process) == {"archive"}
    assert hashlib.sha256((folder / ARCHIVE).read_bytes()).hexdigest() == before


def pack_again(folder, **options):
    """Run the rule's script by itself from its job note, as on a debugger's machine."""
    note = "results/tiny/logs/archive.log.job.json"
    command = [sys.executable, ROOT / "scripts/archive.py", note]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)


def test_it_names_no_folder_of_this_machine_and_no_secret(made, tmp_path):
    folder, config = made
    elsewhere = json.loads((folder / "results/tiny/logs/archive.log.job.json").read_text())
    assert str(ROOT) in str(elsewhere)  # job notes do, so they must stay behind
    talking = folder / "results/tiny/logs/corpus.log"
    said = talking.read_text()
    home = tmp_path / "home" / "Jane Doe"
    environment = {**os.environ, "HOME": str(home), "OPENAI_API_KEY": SECRET}
    try:
        talking.write_text(
            f'{said}File "{home}/model.py", line 3\nkey={SECRET}\n{folder}/results/tiny/x and '
            f"{ROOT}/scripts/corpus.py, /scratch/jane/cache/weights.bin\n"
        )
        process = pack_again(folder, env=environment)
        assert process.returncode == 0, process.stderr
        packed = files(unpack(folder / ARCHIVE, tmp_path))
        log = packed["results/tiny/logs/corpus.log"].decode().removeprefix(said)
        assert log == (
            'File "~/model.py", line 3\nkey=<OPENAI_API_KEY>\n./results/tiny/x and '
            "workflow/scripts/corpus.py, .../weights.bin\n"
        )
        model = config["model"]["path"]
        for name, content in packed.items():
            for private in (home, SECRET, folder, ROOT, sys.prefix, Path.home(), model):
                assert str(private).encode() not in content, (name, private)
    finally:
        talking.write_text(said)
        assert pack_again(folder).returncode == 0


def test_a_full_disk_leaves_the_old_archive_and_no_half_of_a_new_one(made):
    folder, _ = made
    before = (folder / ARCHIVE).read_bytes()
    left = files(folder / "results/tiny").keys()

    def little_space():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    process = pack_again(folder, preexec_fn=little_space)
    assert process.returncode != 0
    assert (folder / ARCHIVE).read_bytes() == before
    assert files(folder / "results/tiny").keys() == left


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
    pack(tmp_path / "x.tar.gz", "s", {"b.csv": one, "a.md": b"hello"})
    pack(tmp_path / "y.tar.gz", "s", {"a.md": b"hello", "b.csv": other})
    assert (tmp_path / "x.tar.gz").read_bytes() == (tmp_path / "y.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries] == ["s/a.md", "s/b.csv"]
    assert {(entry.mtime, entry.uid, entry.uname, entry.mode) for entry in entries} == {
        (TIME, 0, "", 0o644)
    }


def test_addresses_and_fractions_are_not_taken_for_paths(tmp_path):
    said = "from https://example.org/a/b.json, 3/4 of and/or at ./results/x in 2 s/item\n"
    assert cleaned(said, machine(tmp_path, ROOT), {}) == said


def test_a_shared_configuration_is_valid_and_names_no_folder(tmp_path, monkeypatch):
    private = tmp_path / "jane"
    private.mkdir()
    for name in ("a.jsonl", "a.yaml", "corpus.txt"):
        (private / name).write_text("{}")
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["behaviors"]["tea"] = {"items": f"{private}/a.jsonl", "about": f"{private}/a.yaml"}
    config["lookups"]["corpus"] |= {"source": "file", "file": {"path": f"{private}/corpus.txt"}}
    config["model"] = {"name": "own", "source": "path", "path": f"{private}/weights"}
    config["lookups"]["explanations"]["endpoint"]["base_url"] = "http://jane:pw@host:80/v1"
    monkeypatch.chdir(ROOT)
    checked = validated(config, ROOT / "config.schema.yaml")
    shared, data = shareable(checked)
    assert "jane" not in str(shared)
    assert shared["model"]["path"] == "weights"
    assert shared["lookups"]["explanations"]["endpoint"]["base_url"] == "http://host:80/v1"
    assert data["data/behaviors.tea.about.yaml"] == private / "a.yaml"
    assert data["data/lookups.corpus.file.path.txt"] == private / "corpus.txt"
    for name in data:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data[name].read_bytes())
    monkeypatch.chdir(tmp_path)
    assert validated(shared, ROOT / "config.schema.yaml") == shared
