"""What a machine can do to a run: no GPU, no disk space, no memory, a second run at once.

Each ends with one message that says what to do; what was finished is kept, and a run goes on.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT
from matplotlib.figure import Figure
from study import make_study, snakemake

from steerpaper.engine.model import load
from steerpaper.errors import UserError
from steerpaper.plots.style import save
from steerpaper.workflow.files import (
    table_writer,
    write_json,
    write_jsonl,
    write_table,
    write_tensors,
)

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
        subprocess.run(["umount", folder], check=True)


@contextmanager
def limited(folder, size):
    """A folder where no file may grow beyond so many bytes."""
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield folder
    finally:
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


@pytest.mark.workflow
def test_a_second_run_on_the_same_results_is_refused_and_the_first_finishes(
    tmp_path, model_folders
):
    config = make_study(tmp_path, model_folders["llama"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += [ACTIVATIONS, "--directory", str(tmp_path), "--cores", "1", "--resources", "gpu=1"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        while not list((tmp_path / ".snakemake/locks").glob("*")):
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.01)
        # it stands still while the second tries
        os.killpg(run.pid, signal.SIGSTOP)
        try:
            second = snakemake(tmp_path, None, ACTIVATIONS)
        finally:
            os.killpg(run.pid, signal.SIGCONT)
        _, said = run.communicate()
    assert second.returncode != 0
    assert "Directory cannot be locked" in second.stderr
    assert "no other Snakemake process" in second.stderr
    assert run.returncode == 0, said
    assert (tmp_path / ACTIVATIONS).exists()
