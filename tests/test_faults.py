"""What a machine can do to a run: no GPU, no disk space, no memory, a second run at once.

Each ends with one message that says what to do; what was finished is kept, and a run goes on.
The faults that are done to a whole study are those of `make faults`, a few of each.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from faults import copy_of, noted_jobs
from faults.clock import turned
from faults.damage import damage
from faults.disk import full
from faults.disk import read_only as closed
from faults.gpu_lock import losses
from faults.kills import kills
from faults.memory import at_one_row, at_random, model_jobs
from faults.two_runs import at_once
from matplotlib.figure import Figure
from study import make_study, snakemake

from steerpaper.engine.proof import load
from steerpaper.errors import UserError
from steerpaper.plots.style import save
from steerpaper.workflow import runs
from steerpaper.workflow.clock import bring_back
from steerpaper.workflow.files import (
    table_writer,
    write_json,
    write_jsonl,
    write_table,
    write_tensors,
)
from steerpaper.workflow.runs import left_by_a_kill

NOISE = np.random.default_rng(0).random((200, 200))
TABLE = pd.DataFrame(NOISE, columns=[f"c{n}" for n in range(200)])


def write_parts(path):
    with table_writer(path) as append:
        append(TABLE)


def write_figure(path):
    figure = Figure()
    figure.add_axes((0, 0, 1, 1)).imshow(NOISE)
    save(figure, {kind: path.with_suffix(f".{kind}") for kind in ("pdf", "png", "csv")}, TABLE)


# each writes more than any of the small disks below has room for
WRITERS = {
    "rows.jsonl": lambda path: write_jsonl(path, TABLE.to_dict("records")),
    "object.json": lambda path: write_json(path, TABLE.to_dict()),
    "table.parquet": lambda path: write_table(path, TABLE),
    "table.csv": lambda path: write_table(path, TABLE),
    "parts.parquet": write_parts,
    "tensors.safetensors": lambda path: write_tensors(path, {"noise": NOISE}, {}),
    "figure.pdf": write_figure,
}


@contextmanager
def mounted(folder, size):
    """A file system of its own, of so many bytes."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    try:
        process = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    if process.returncode:
        pytest.skip(f"no small file system can be mounted here: {process.stderr.strip()}")
    try:
        yield folder
    finally:
        # lazily: what was not written may stay open until it is collected
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def limited(folder, size):
    """A folder where no file may grow beyond so many bytes."""
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = sys.dont_write_bytecode
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    # Python would leave half of the byte code of what is imported here first
    sys.dont_write_bytecode = True
    try:
        yield folder
    finally:
        sys.dont_write_bytecode = written
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("small", [limited, mounted])
def test_a_file_that_does_not_fit_on_the_disk_leaves_the_old_one(small, name, tmp_path):
    with small(tmp_path / "disk", 16384) as disk:
        (disk / name).write_text("old")
        with pytest.raises(UserError) as refused:
            WRITERS[name](disk / name)
        assert str(refused.value).startswith(f"{disk / name}: cannot be written, the disk is full")
        assert "free some space and run again" in str(refused.value)
        assert [path.name for path in disk.iterdir()] == [name]
        assert (disk / name).read_text() == "old"


@contextmanager
def read_only(folder):
    """A folder that cannot be written to: root can write to all but a read-only file system."""
    if os.geteuid():
        folder.mkdir(mode=0o555)
        yield folder
        folder.chmod(0o755)
    else:
        with mounted(folder, 16384):
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            yield folder


def test_a_read_only_folder_is_named(tmp_path):
    with read_only(tmp_path / "disk") as disk:
        for path in (disk / "table.csv", disk / "new" / "table.csv"):
            with pytest.raises(UserError, match=rf"table\.csv: cannot be written, {disk} is read-"):
                write_table(path, TABLE)


def test_another_error_while_writing_is_not_blamed_on_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError), table_writer(tmp_path / "table.parquet"):
        (tmp_path / "input").read_text()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_a_model_that_does_not_fit_in_memory_is_named(error, model_folders, monkeypatch):
    from transformers import AutoModelForCausalLM

    def no_memory(*arguments, **options):
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", no_memory)
    with pytest.raises(UserError, match=r"out of memory while the model is loaded onto cpu"):
        load(model_folders["llama"], device="cpu", dtype="float32", threads=1)


def test_cuda_where_there_is_none_is_told_before_the_model_is_read(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match="device: 'cuda' is asked for"):
        load(tmp_path, device="cuda", dtype="float32", threads=1)


ACTIVATIONS = "results/tiny/activations/one.answers.safetensors"


@pytest.mark.workflow
def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(tmp_path, model_folders):
    with mounted(tmp_path / "disk", "4m") as disk:
        config = make_study(disk, model_folders["llama"])
        prompts = disk / "results/tiny/prompts/one.answers.train.jsonl"
        assert snakemake(disk, config, prompts.relative_to(disk)).returncode == 0
        made = prompts.stat().st_mtime_ns
        # room for what Snakemake notes about a job, not for what the job writes
        room = shutil.disk_usage(disk).free - 48 * 1024
        (disk / "others").write_bytes(bytes(room))
        process = snakemake(disk, None, ACTIVATIONS)
        assert process.returncode != 0
        assert "cannot be written, the disk is full" in process.stderr
        assert "Traceback" not in process.stderr
        assert not list(disk.rglob("*.part*"))
        # Snakemake removes a failed job's outputs where it has the room to note the failure
        left = (disk / ACTIVATIONS).read_bytes() if (disk / ACTIVATIONS).exists() else None
        (disk / "others").unlink()
        process = snakemake(disk, None, ACTIVATIONS)
        assert process.returncode == 0, process.stderr
        assert left in (None, (disk / ACTIVATIONS).read_bytes())
        assert prompts.stat().st_mtime_ns == made


VECTORS = "results/tiny/vectors/one.answers.safetensors"


def nothing_lost(outcomes):
    """All outcomes, when none lost a result or left a file."""
    found = list(outcomes)
    assert found
    for one in found:
        assert not one.lost, one
        assert not one.left, one
    return found


@pytest.fixture
def harmed(finished_study, tmp_path):
    """A copy of the finished study to do harm to, and its jobs."""
    study, _, _ = finished_study
    return copy_of(study, tmp_path / "harmed"), noted_jobs(study)


@pytest.mark.long
def test_a_killed_run_goes_on_by_what_the_next_one_says(finished_study, tmp_path):
    study, _, _ = finished_study
    struck = nothing_lost(
        kills(study, tmp_path / "killed", number=2, seed=0, longest=3, target=VECTORS)
    )
    # Snakemake with its jobs, and Snakemake alone
    assert all(one.said.startswith("A run in this folder was killed") for one in struck)


@pytest.mark.long
def test_a_full_disk_costs_a_job_no_file(harmed):
    folder, jobs = harmed
    # the corpus has a file of its own on the disk for a while
    corpus = [job for job in jobs if job.name == "corpus"]
    nothing_lost(full(folder, [*jobs[::24], *corpus]))


@pytest.mark.long
def test_a_closed_folder_costs_a_job_no_file(harmed):
    folder, jobs = harmed
    try:
        nothing_lost(closed(folder, jobs[3::40]))
    except PermissionError as error:
        pytest.skip(str(error))


@pytest.mark.long
def test_results_do_not_depend_on_where_memory_ran_out(harmed):
    folder, jobs = harmed
    struck = nothing_lost(at_random(folder, model_jobs(folder, jobs)[::8], seed=0))
    assert [one for one in struck if "batches halved" in one.said]


@pytest.mark.long
def test_no_memory_for_one_sequence_is_one_message(harmed):
    folder, jobs = harmed
    # what all prompts begin with runs first; the model's parts are checked first
    chosen = [job for job in jobs if job.name in ("activations/one", "neurons")]
    assert len(chosen) == 2
    for one in nothing_lost(at_one_row(folder, chosen)):
        assert one.said.startswith("out of memory with one sequence of")


@pytest.mark.parametrize(
    ("kind", "name"), [("parquet", "one bit flipped"), ("csv", "cut to half"), ("json", "emptied")]
)
def test_a_damaged_file_is_named_and_made_anew(kind, name, finished_study, tmp_path):
    study, _, _ = finished_study
    nothing_lost([damage(study, tmp_path / "damaged", noted_jobs(study), kind, name)])


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_was_turned_stops_no_run_and_makes_nothing_again_for_ever(
    days, finished_study, tmp_path
):
    study, _, _ = finished_study
    nothing_lost([turned(study, tmp_path / "turned", VECTORS, days)])


@pytest.mark.long
def test_a_second_run_on_the_same_results_is_refused_and_the_first_finishes(
    finished_study, tmp_path
):
    study, _, _ = finished_study
    same, linked = nothing_lost(at_once(study, tmp_path / "two", VECTORS))
    assert same.said.startswith("Error: Directory cannot be locked")
    assert linked.said.startswith("results/tiny: in use by the run that process")


def test_a_lost_gpu_lock_stops_no_job(tmp_path):
    try:
        nothing_lost(losses(tmp_path))
    except PermissionError as error:
        pytest.skip(str(error))


def held_by(call, tmp_path):
    """A process that calls a function of `workflow.runs` and stays alive."""
    code = f"import sys; from pathlib import Path; from steerpaper.workflow import runs; {call}"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
    )
    process.stdout.readline()
    return process


def stopped(process):
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "call", ["runs.claim(Path('results/tea'))", "runs.join('results/tea/logs/vectors/one.log')"]
)
def test_results_are_one_run_s_until_its_last_job_has_ended(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = held_by(call, tmp_path)
    try:
        with pytest.raises(UserError, match=r"^results/tea: in use by .* same command again$"):
            runs.claim(Path("results/tea"))
    finally:
        stopped(other)
    claimed = held_by("runs.claim(Path('results/tea'))", tmp_path)
    stopped(claimed)
    assert f"process {claimed.pid} on " in Path("results/tea/.lock").read_text()


def test_jobs_of_one_run_hold_its_results_together(tmp_path):
    run = held_by("runs.claim(Path('results/tea'))", tmp_path)
    jobs = [held_by("runs.join('results/tea/logs/one.log')", tmp_path) for _ in range(2)]
    assert all(process.poll() is None for process in jobs)
    for process in (run, *jobs):
        stopped(process)


def test_a_cluster_s_jobs_and_the_report_are_no_second_runs(harmed):
    folder, _ = harmed
    (folder / VECTORS).unlink()
    first = held_by("runs.claim(Path('results/tiny'))", folder)
    try:
        # as the second run that a user begins
        refused = snakemake(folder, None, VECTORS)
        assert "in use by the run" in refused.stderr
        # as Snakemake calls itself on a node, and for the report
        for arguments in ([VECTORS, "--mode", "remote", "--nolock"], ["all", "--report", "r.html"]):
            process = snakemake(folder, None, *arguments)
            assert process.returncode == 0, process.stderr
        assert (folder / VECTORS).exists()
    finally:
        stopped(first)


def test_a_lock_that_a_killed_run_left_is_told_with_the_command_that_goes_on(tmp_path):
    snakemakes = tmp_path / ".snakemake"
    (snakemakes / "locks").mkdir(parents=True)
    typed = ["snakemake", "steering", "--cores", "1"]
    # nothing is left
    assert left_by_a_kill(snakemakes, typed) == ""
    (snakemakes / "locks/0.output.lock").write_text("results/tiny/tables/a.csv\n")
    # this process is alive in the folder by now
    assert left_by_a_kill(snakemakes, typed) == ""
    code = "print(runs.left_by_a_kill(Path(sys.argv[1]), sys.argv[2:]))"
    code = f"import sys; from pathlib import Path; from steerpaper.workflow import runs; {code}"

    def told(folder, *typed):
        command = [sys.executable, "-c", code, folder, *typed]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
        return subprocess.run(command, capture_output=True, text=True, env=environment).stdout

    assert told(snakemakes, *typed).strip() == ""
    fresh = tmp_path / "fresh"
    shutil.copytree(snakemakes, fresh)
    command = " ".join(typed)
    assert f"To go on:\n\n    {command} --unlock && {command}\n" in told(fresh, *typed)
    assert told(fresh, *typed, "--unlock").strip() == ""


def test_results_dated_after_now_are_dated_now_and_no_others(tmp_path):
    ahead, behind = tmp_path / "ahead.csv", tmp_path / "behind.csv"
    for path, days in ((ahead, 1), (behind, -1)):
        path.write_text("a,b\n")
        moment = path.stat().st_mtime + days * 86400
        os.utime(path, (moment, moment))
    before = behind.stat().st_mtime_ns
    assert bring_back([tmp_path]) == 1
    assert abs(ahead.stat().st_mtime - time.time()) < 60
    assert behind.stat().st_mtime_ns == before
    assert bring_back([tmp_path]) == 0
