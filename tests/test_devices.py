"""Jobs that use a GPU at once have one each: simulated devices, real locks, real jobs."""

import atexit
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import ROOT
from study import make_study
from warm import launcher

from steerpaper.engine import placing
from steerpaper.errors import UserError
from steerpaper.workflow import devices

SCRIPTS = ROOT / "scripts"


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """The machine's folder for temporary files, for this test alone."""
    folder = tmp_path / "locks"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS))
    return folder


HOLD = """
import logging, sys
from steerpaper.workflow.devices import hold
logging.basicConfig(stream=sys.stdout, format="%(message)s")
count, *names = sys.argv[1:]
print("device", *hold(names, int(count)), flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(*names, count=1):
    """A process that holds some of the named devices, and what it says, line by line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(count), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, process.stdout.readline
        finally:
            process.kill()


def test_processes_hold_different_devices_however_they_are_numbered(locks):
    with holder("a", "b", "c") as (_, first):
        assert first() == "device 0\n"
        with holder("b", "a") as (_, second), holder("c", "a") as (_, third):
            assert (second(), third()) == ("device 0\n", "device 0\n")
            with holder("a", "b", "c", "d") as (_, fourth):
                assert fourth() == "device 3\n"


def test_a_killed_job_frees_its_device_for_the_one_that_waits(locks):
    with holder("a", "b") as (first, said_first), holder("a", "b") as (_, said_second):
        assert {said_first(), said_second()} == {"device 0\n", "device 1\n"}
        with holder("a", "b") as (_, waiting):
            assert waiting().startswith("all 2 GPUs are in use by other jobs: waiting for one")
            first.send_signal(signal.SIGKILL)
            assert waiting() in ("device 0\n", "device 1\n")


def test_the_only_device_is_shared_and_the_log_says_so(locks):
    with holder("a") as (_, first):
        assert first() == "device 0\n"
        with holder("a") as (_, second):
            assert second() == "the only GPU (a) is in use by another job: shared with it\n"
            assert second() == "device 0\n"


def test_a_job_takes_all_its_devices_or_none(locks):
    with holder("a", "b", "c", count=2) as (first, said_first):
        assert said_first() == "device 0 1\n"
        with holder("c", "b", "a", count=2) as (_, waiting):
            assert waiting().startswith(
                "fewer than 2 of 3 GPUs are free: waiting until 2 are, and holding none meanwhile"
            )
            # the one that is free stays so: who waits holds none of it
            with holder("c", "d") as (_, third):
                assert third() == "device 0\n"
            first.send_signal(signal.SIGKILL)
            assert waiting() in ("device 0 1\n", "device 1 2\n")


def test_two_jobs_that_need_all_devices_go_one_after_the_other(locks):
    with ExitStack() as others:
        started = [others.enter_context(holder(*"abcd", count=4)) for _ in range(3)]
        done = 0
        while started:
            # one of them holds all four at a time, and all of them come to it
            ready, *_ = select.select([process.stdout for process, _ in started], [], [], 60)
            assert ready, "all wait for each other"
            for process, said in list(started):
                if process.stdout in ready and said().startswith("device 0 1 2 3"):
                    done += 1
                    process.kill()
                    process.wait()
                    started.remove((process, said))
        assert done == 3


def test_more_devices_than_there_are_is_told(locks):
    with pytest.raises(UserError, match=r"gpus_per_job: 3 GPUs are asked for, .* sees 2 here"):
        devices.hold(["a", "b"], 3)
    assert not list(locks.iterdir())


def test_a_folder_for_locks_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"none/steerpaper-gpu-a\.lock: cannot be opened.*TMPDIR"):
        devices.hold(["a"])


def test_a_lock_whose_file_goes_while_it_is_taken_is_taken_again(locks, monkeypatch):
    lock, path = fcntl.flock, locks / "steerpaper-gpu-a.lock"
    tries = []

    def removed_once(file, how):
        tries.append(file)
        if len(tries) == 1:
            path.unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", removed_once)
    assert devices.hold(["a"]) == (0,)
    assert len(tries) == 2
    # the file that is there is the one that is held
    with holder("a", "b") as (_, other):
        assert other() == "device 1\n"


FOUR = [f"GPU-{letter * 8}" for letter in "abcd"]


@pytest.fixture
def four_gpus(locks, monkeypatch, request):
    """A stand-in for CUDA on a machine with four GPUs: it shows what CUDA_VISIBLE_DEVICES says."""

    def shown():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1,2,3")
        return [FOUR[int(entry)] if entry.isdigit() else entry for entry in visible.split(",")]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(shown()))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(shown()))
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda number: SimpleNamespace(name="simulated", uuid=shown()[number]),
    )
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1.5e9)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 2e9)
    at_exit = []
    monkeypatch.setattr(atexit, "register", lambda *call: at_exit.append(call))
    placing.own_gpus.cache_clear()
    yield at_exit
    placing.own_gpus.cache_clear()


@pytest.mark.parametrize(
    ("visible", "held", "expected"),
    [
        (None, [], "cuda:0"),
        (None, FOUR[:2], "cuda:2"),
        ("3", [], "cuda:0"),
        ("2,3", FOUR[2:3], "cuda:1"),
        ("3,2", FOUR[2:3], "cuda:0"),
        ("GPU-dddddddd", FOUR[:1], "cuda:0"),
        ("GPU-aaaaaaaa,GPU-bbbbbbbb", FOUR[:1], "cuda:1"),
        ("MIG-0a1b2c3d", FOUR, "cuda:0"),
    ],
)
def test_a_job_takes_a_free_device_of_those_that_cuda_shows(
    four_gpus, locks, monkeypatch, visible, held, expected, caplog
):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    caplog.set_level(logging.INFO)
    with ExitStack() as others:
        for name in held:
            _, said = others.enter_context(holder(name))
            assert said() == "device 0\n"
        (device,) = placing.pick_devices("auto")
    assert str(device) == expected
    # once taken it stays: a second model in the same job is on the same device
    assert placing.pick_devices("cuda") == (device,)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible
    (line,) = (r.getMessage() for r in caplog.records if r.getMessage().startswith("GPU"))
    assert line.startswith(f"GPU {expected} (simulated, ")
    assert "shared" not in caplog.text


def test_a_job_of_several_takes_free_devices_and_says_which(four_gpus, locks, caplog):
    caplog.set_level(logging.INFO)
    with ExitStack() as others:
        for name in (FOUR[0], FOUR[2]):
            _, said = others.enter_context(holder(name))
            assert said() == "device 0\n"
        taken = placing.pick_devices("auto", 2)
    assert taken == (torch.device("cuda", 1), torch.device("cuda", 3))
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("GPU")]
    assert [line.split(" (")[0] for line in lines] == ["GPU cuda:1", "GPU cuda:3"]
    assert len(four_gpus) == 2, "both say at the end how much they took"
    with pytest.raises(UserError, match="gpus_per_job: 5 GPUs are asked for"):
        placing.pick_devices("cuda", 5)


def test_a_job_says_at_its_end_how_much_gpu_memory_it_took(four_gpus, caplog):
    caplog.set_level(logging.INFO)
    placing.pick_devices("cuda")
    ((function, *arguments),) = four_gpus
    function(*arguments)
    assert "peak memory of cuda:0: 1500 MB in tensors, 2000 MB reserved" in caplog.text


def test_a_job_on_the_cpu_takes_no_device(four_gpus, locks, monkeypatch):
    placing.pick_devices("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert placing.pick_devices("auto")[0].type in ("cpu", "mps")
    assert not list(locks.iterdir())


def snakemake(folder, *arguments):
    """Run Snakemake with two GPUs to give away, and more cores than that."""
    command = [sys.executable, "-m", "snakemake", *map(str, arguments), "--directory", str(folder)]
    command += ["--cores", "4", "--resources", "gpu=2"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process


# what a job does with its device, in both workflows below
MEET = """
import time
from pathlib import Path

def meet(device, seconds):
    mark = Path(f"held-{device}")
    mark.touch(exist_ok=False)  # fails where another job holds the device
    Path(f"used-{device}").touch()
    deadline = time.monotonic() + seconds
    while len(list(Path().glob("used-*"))) < 2:
        # the first two jobs run at once: each waits here for the other
        assert time.monotonic() < deadline, "no second job, or none on the other device"
        time.sleep(0.01)
    return mark
"""
JOB = """
from steerpaper.workflow.devices import hold
from steerpaper.workflow.job import run

def main(job):
    device = "ab"[hold(["a", "b"])[0]]
    meet(device, 60).unlink()
    Path(job.output["device"]).write_text(device)

run(main)
"""
JOBS = """
config |= dict(batch_tokens=512, gpus_per_job=1, offload={}, model={"remote": False})

rule all:
    input: expand("device.{n}", n=range(6))

rule device:
    output: device="device.{n}"
    log: "log.{n}"
    resources: gpu=1
    script: "job.py"
"""


@pytest.mark.workflow
def test_jobs_that_run_at_once_have_a_device_each_and_none_waits(locks, tmp_path):
    (tmp_path / "job.py").write_text(MEET + JOB)
    (tmp_path / "Snakefile").write_text(JOBS)
    snakemake(tmp_path, "--snakefile", tmp_path / "Snakefile")
    assert {(tmp_path / f"device.{n}").read_text() for n in range(6)} == {"a", "b"}
    assert not any("waiting" in (tmp_path / f"log.{n}").read_text() for n in range(6))


ASKING = """
include: {snakefile!r}

rule asking:
    output: "gpus"
    resources: gpu=GPUS
    shell: "echo {{resources.gpu}} > {{output}}"
"""


@pytest.mark.workflow
@pytest.mark.parametrize(("gpus", "limit"), [(1, 1), (3, 1), (2, 4)])
def test_a_job_asks_for_as_many_gpus_as_it_needs_whatever_the_limit_of_all(tmp_path, gpus, limit):
    """Snakemake would cut them to the limit, and ask a cluster for fewer."""
    (tmp_path / "Snakefile").write_text(ASKING.format(snakefile=str(ROOT / "Snakefile")))
    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"gpus_per_job": gpus}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [launcher(), "-m", "snakemake", "asking", "--cores", "1", "--directory", tmp_path]
    command += ["--snakefile", tmp_path / "Snakefile", "--resources", f"gpu={limit}"]
    command += ["--workflow-profile", "none"]
    process = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "gpus").read_text() == f"{gpus}\n"


# Python runs a module of this name when it starts; here it makes two simulated GPUs of the CPU
TWO_GPUS = """
import sys
if any(".snakemake/scripts" in argument for argument in sys.orig_argv):
    sys.path.insert(0, {scripts!r})
    import atexit, torch
    from types import SimpleNamespace
    from steerpaper.engine import placing

    there = torch.cuda.is_available
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 2
    torch.cuda.get_device_properties = lambda number: SimpleNamespace(
        name="simulated", uuid=f"simulated-{{number}}"
    )
    torch.cuda.set_device = lambda device: None
    own_gpus = placing.own_gpus

    def on_the_cpu(gpus):
        (device,) = own_gpus(gpus)
        torch.cuda.is_available = there
        # of the others one runs at a time
        if any("activations" in argument for argument in sys.orig_argv):
            atexit.register(meet(device.index, 120).unlink)
        return (torch.device("cpu"),)

    placing.own_gpus = on_the_cpu
"""


@pytest.mark.workflow
@pytest.mark.long
def test_the_workflows_own_jobs_have_a_gpu_each(locks, tmp_path, monkeypatch, model_folders):
    folder = tmp_path / "study"
    folder.mkdir()
    config = {**make_study(folder, model_folders["llama"]), "device": "cuda"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (locks / "sitecustomize.py").write_text(MEET + TWO_GPUS.format(scripts=str(SCRIPTS)))
    monkeypatch.setenv("PYTHONPATH", str(locks))
    behaviors = ["one", "two"]
    targets = [f"results/tiny/activations/{name}.answers.safetensors" for name in behaviors]
    snakemake(folder, *targets, "--snakefile", ROOT / "Snakefile")
    said = "".join(
        (folder / f"results/tiny/logs/activations/{b}.log").read_text() for b in behaviors
    )
    assert "GPU cuda:0 (simulated, simulated-0), one of 2" in said
    assert "GPU cuda:1 (simulated, simulated-1), one of 2" in said
    assert not list(folder.glob("held-*"))
