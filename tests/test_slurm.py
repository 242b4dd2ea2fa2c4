"""The cluster profile on a real SLURM: one machine, two GPUs in name only (tests/slurm/up.sh)."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from study import make_study, snakemake

pytestmark = pytest.mark.slurm

PROFILE = ROOT / "profiles/slurm/config.yaml"
STUDY_TABLES = [f"results/tiny/tables/{name}.csv" for name in ("steerability", "layer_sweep")]
PROMPTS = "results/tiny/prompts/one.answers.train.jsonl"
VECTORS = "results/tiny/vectors/one.answers.steering.safetensors"
SUBMITTED = re.compile(r"submitted with SLURM jobid (\d+) \(log: (\S+)\)")


def ask(*command):
    """What a SLURM command prints; nothing where there is no SLURM."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=15).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


@pytest.fixture(scope="module")
def start():
    """Start what a user types, `snakemake --profile profiles/slurm`, in a folder.

    Skips where the test cluster is not up; another cluster gets no jobs from tests.
    """
    if not re.search(r"ClusterName\s*= steerpaper-test$", ask("scontrol", "show", "config"), re.M):
        pytest.skip("no test cluster: on Debian or Ubuntu, root brings one up: tests/slurm/up.sh")
    started = []

    def run(folder, *arguments, snakefile=ROOT / "Snakefile", profile=PROFILE, first_look=4):
        command = [sys.executable, "-m", "snakemake", "--snakefile", snakefile, *arguments]
        command += ["--profile", profile, "--workflow-profile", ROOT / "profiles/default"]
        command += ["--slurm-init-seconds-before-status-checks", first_look]
        # all output in one file: a pipe that nobody reads would stop it
        with open(folder / "said.txt", "w") as said:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=folder,
                stdout=said,
                stderr=subprocess.STDOUT,
                # a parent in the background (nohup, a shell's &) has its children ignore Ctrl-C
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        started.append(process)
        return process

    yield run
    # only where a test has failed
    for process in started:
        if process.poll() is None:
            process.kill()
            ask("scancel", "--me")


def finish(process, folder):
    """Wait for it: exit status, and all that it said."""
    status = process.wait(timeout=300)
    return status, (folder / "said.txt").read_text()


def edited(folder, *changes):
    """A user's own copy of the profile: each text in it replaced by another."""
    text = PROFILE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "my-profile").mkdir(exist_ok=True)
    mine = folder / "my-profile/config.yaml"
    mine.write_text(text)
    return mine


def until(happens, what, seconds=90):
    """Wait for something, and fail if it does not happen."""
    for _ in range(seconds * 5):
        if happens():
            return
        time.sleep(0.2)
    pytest.fail(f"waited in vain until {what}")


def job(slurm_id):
    """All that SLURM knows of a job."""
    return dict(
        pair.split("=", 1)
        for pair in ask("scontrol", "-o", "show", "job", slurm_id).split()
        if "=" in pair
    )


def test_the_profile_sends_exactly_the_rules_with_a_gpu_to_the_gpu_partition(tmp_path):
    profile = yaml.safe_load(PROFILE.read_text())
    assert profile["__variables__"]["gpu_rules"] == sorted(
        name for name, rule in rules_of(tmp_path).items() if "gpu" in rule["resources"]
    )


@pytest.fixture(scope="module")
def studies(start, tmp_path_factory, model_folders):
    """The same study finished on this machine and on the cluster, and what the latter said.

    Up to the vectors it is made once, on this machine. On the cluster the rule `sweep` is given too
    little memory at first.
    """
    local, remote = (tmp_path_factory.mktemp(name) for name in ("local", "remote"))
    config = make_study(local, model_folders["llama"])
    config["steering"].update(behaviors=["one"], contrasts=["answers"])
    process = snakemake(local, config, VECTORS)
    assert process.returncode == 0, process.stderr
    shutil.copytree(local, remote, dirs_exist_ok=True)
    mine = edited(remote)
    with mine.open("a") as profile:
        profile.write("  sweep: {slurm_partition: gpu, mem_mb: 100 * attempt ** 4}\n")
    running = start(remote, *STUDY_TABLES, profile=mine)
    process = snakemake(local, config, *STUDY_TABLES)
    assert process.returncode == 0, process.stderr
    status, said = finish(running, remote)
    assert status == 0, said
    return local, remote, said


def test_every_job_has_a_slurm_id_and_a_partition_of_its_class(studies):
    _, remote, said = studies
    submitted = SUBMITTED.findall(said)
    rules = {log.split("/rule_")[1].split("/")[0]: slurm_id for slurm_id, log in submitted}
    on_gpus = ("gradients", "sweep", "dose_response")
    assert set(rules) == {*on_gpus, "best_block", "steering_tables"}
    for rule in on_gpus:
        assert job(rules[rule])["Partition"] == "gpu"
        assert job(rules[rule])["TresPerJob"] == "gres:gpu:1"
    for rule in ("best_block", "steering_tables"):
        assert job(rules[rule])["Partition"] == "cpu"
        assert "TresPerJob" not in job(rules[rule])
    # logs of finished jobs are kept
    for _, log in submitted:
        assert Path(log).stat().st_size > 0
        assert Path(log).is_relative_to(remote / ".snakemake/slurm_logs")


def test_a_job_killed_for_memory_succeeds_on_retry_with_more(studies):
    _, _, said = studies
    attempts = [job(found) for found, log in SUBMITTED.findall(said) if "rule_sweep" in log]
    states = [attempt["JobState"] for attempt in attempts]
    assert len(states) > 1
    assert set(states[:-1]) <= {"FAILED", "OUT_OF_MEMORY"}
    assert states[-1] == "COMPLETED"
    memory = [attempt["MinMemoryNode"] for attempt in attempts]
    assert memory == ["100M", "1600M", "8100M"][: len(attempts)]
    log = next(log for _, log in SUBMITTED.findall(said) if "rule_sweep" in log)
    assert "exceeded memory limit" in Path(log).read_text()


def test_results_of_the_cluster_are_those_of_one_machine_byte_for_byte(studies):
    local, remote, _ = studies
    for table in (*STUDY_TABLES, "results/tiny/steering/one.answers.sweep.parquet"):
        assert (local / table).read_bytes() == (remote / table).read_bytes()


@pytest.mark.long
def test_a_failing_job_is_reported_with_its_log_and_nothing_finished_is_lost(
    studies, start, tmp_path
):
    _, remote, _ = studies
    shutil.copytree(remote, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "one.jsonl").open("a") as raw:
        raw.write("{this is no JSON\n")
    status, said = finish(start(tmp_path, PROMPTS, "--retries", "0"), tmp_path)
    assert status != 0
    assert "results/tiny/logs/prompts/one.log" in said
    assert "one.jsonl, line 17: not JSON" in said
    slurm_id, log = SUBMITTED.search(said).groups()
    assert f"SLURM-job '{slurm_id}' failed" in said
    assert "one.jsonl, line 17: not JSON" in Path(log).read_text()
    for table in STUDY_TABLES:
        assert (tmp_path / table).read_bytes() == (remote / table).read_bytes()


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        (("cpu_partition: cpu ", "cpu_partition: night "), "vectors", "invalid partition"),
        (('gpu_model: ""', "gpu_model: h100"), "activations", "node configuration"),
    ],
    ids=["partition", "gpu"],
)
def test_what_the_cluster_does_not_have_is_named_and_nothing_finished_is_lost(
    studies, start, tmp_path, change, rule, message
):
    _, remote, _ = studies
    shutil.copytree(remote, tmp_path, dirs_exist_ok=True)
    target = f"results/tiny/{rule}/one.answers.safetensors"
    mine = edited(tmp_path, change)
    status, said = finish(start(tmp_path, target, "--forcerun", rule, profile=mine), tmp_path)
    assert status != 0
    assert message in said
    assert change[1].split()[1] in said
    for table in STUDY_TABLES:
        assert (tmp_path / table).read_bytes() == (remote / table).read_bytes()


@pytest.mark.long
def test_two_gpu_jobs_never_overlap_on_one_gpu_and_two_gpus_are_both_used(start, tmp_path):
    status, said = finish(start(tmp_path, snakefile=ROOT / "tests/slurm/gpus.smk"), tmp_path)
    assert status == 0, said
    runs = []
    for path in tmp_path.glob("?.txt"):
        begin, end, device, slurm_id = path.read_text().split()
        assert device in ("0", "1")
        runs.append((float(begin), float(end), device, slurm_id))
    assert {slurm_id for *_, slurm_id in runs} == {found for found, _ in SUBMITTED.findall(said)}
    together = [
        (one, other)
        for one, other in combinations(runs, 2)
        if one[0] < other[1] and other[0] < one[1]
    ]
    assert together
    assert all(one[2] != other[2] for one, other in together)


@pytest.fixture(scope="module")
def cancelled(start, tmp_path_factory):
    """A folder where Ctrl-C ended a run while its job was running, and that job."""
    folder = tmp_path_factory.mktemp("cancelled")
    # while it asks how jobs are, Snakemake has none to cancel: it asks later than the job begins
    waiting = ROOT / "tests/slurm/waiting.smk"
    running = start(folder, "waiting.txt", snakefile=waiting, first_look=40)
    until((folder / "begun.txt").exists, "the job runs")
    running.send_signal(signal.SIGINT)
    status, said = finish(running, folder)
    assert status != 0, said
    return folder, (folder / "begun.txt").read_text().strip()


def test_ctrl_c_cancels_the_slurm_job_and_keeps_what_is_finished(cancelled):
    folder, slurm_id = cancelled
    until(lambda: job(slurm_id)["JobState"] == "CANCELLED", "the job is cancelled")
    assert (folder / "finished.txt").exists()
    assert not (folder / "waiting.txt").exists()


def processes_of(slurm_id):
    """All processes of a job on this machine: its step daemons and what they started."""
    parents, found = {}, set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(process.name)] = int(
                (process / "stat").read_text().rsplit(")")[-1].split()[1]
            )
            if (process / "cmdline").read_text().startswith(f"slurmstepd: [{slurm_id}."):
                found.add(int(process.name))
        except OSError:
            continue  # it has ended
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.mark.long
def test_a_cancelled_run_goes_on_and_a_lost_node_costs_it_a_restart_of_one_job(cancelled, start):
    if os.geteuid() != 0:
        pytest.skip("only root can take the test cluster's node away")
    folder, _ = cancelled
    begun, finished = folder / "begun.txt", (folder / "finished.txt").read_bytes()
    begun.unlink()
    running = start(folder, "waiting.txt", snakefile=ROOT / "tests/slurm/waiting.smk")
    until(begun.exists, "the job runs")
    slurm_id = begun.read_text().strip()
    node = job(slurm_id)["BatchHost"]
    slurmd = int(Path("/var/lib/steerpaper-slurm/slurmd.pid").read_text())
    for process in [slurmd, *processes_of(slurm_id)]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{slurmd}").exists(), "the node is gone")
    ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
    (folder / "go").touch()
    subprocess.run([ROOT / "tests/slurm/up.sh"], check=True, timeout=60)
    status, said = finish(running, folder)
    assert status == 0, said
    # one SLURM job, begun twice
    assert (folder / "waiting.txt").read_text().split() == [slurm_id, slurm_id]
    assert [found for found, _ in SUBMITTED.findall(said)] == [slurm_id]
    assert int(job(slurm_id)["Restarts"]) == 1
    assert (folder / "finished.txt").read_bytes() == finished
