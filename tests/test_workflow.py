"""The whole workflow on a tiny model: from raw prompts to figures, resumed, re-run, moved."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from study import make_study, snakemake, tables

FIGURES = [
    "layer_sweep",
    "dose_response",
    "heatmap",
    "norms",
    *(
        f"{name}.{contrast}"
        for name in ("pca", "cosine_blocks", "cosine_behaviors")
        for contrast in ("answers", "letters")
    ),
]


@pytest.fixture(scope="module")
def finished(finished_study, tmp_path_factory):
    """A folder with a finished tiny study, its configuration, and what Snakemake printed."""
    folder, config, printed = finished_study
    copy = tmp_path_factory.mktemp("study")
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    return copy, config, printed


def test_one_command_makes_every_figure_and_table(finished):
    folder, _, printed = finished
    for name in FIGURES:
        for kind in ("pdf", "png", "csv"):
            assert (folder / f"figures/tiny/{name}.{kind}").stat().st_size > 100
    sweep = pd.read_parquet(folder / "results/tiny/steering/one.answers.sweep.parquet")
    assert list(sweep.columns) == [
        "behavior",
        "prompt_id",
        "split",
        "matching",
        "layer",
        "multiplier",
        "direction",
        "logprob_matching",
        "logprob_other",
        "logit_diff",
        "p_matching",
        "ab_mass",
        "layers",
    ]
    dev, test = (sweep[sweep["split"] == split] for split in ("dev", "test"))
    # 4 items: unsteered once, and 4 blocks x (2 multipliers + 1 random x 2 multipliers)
    assert len(dev) == 4 * (1 + 4 * 4)
    assert len(test) == 6 * (1 + 2 + 2 * 2)
    assert not set(dev["prompt_id"]) & set(test["prompt_id"])
    assert (folder / "results/tiny/prompts/one.letters.dev.csv").exists()
    # wall time and memory of every rule are told at the end
    assert "peak memory" in printed
    assert "dose_response" in printed


def test_a_finished_study_has_nothing_to_be_done(finished):
    folder, config, _ = finished
    process = snakemake(folder, config, "--dry-run")
    assert process.returncode == 0
    assert "Nothing to be done" in process.stdout + process.stderr


def planned(folder, config, *arguments):
    """The rules that a dry run would run."""
    process = snakemake(folder, config, "--dry-run", *arguments)
    assert process.returncode == 0, process.stderr
    _, _, stats = (process.stdout + process.stderr).partition("Job stats:")
    rows = [line.split() for line in stats.partition("total")[0].splitlines()[3:]]
    return {row[0] for row in rows if row}


@pytest.mark.parametrize(
    ("change", "first", "kept"),
    [
        ({"dose_response": {"multipliers": [-2, 1]}}, "dose_response", "sweep"),
        ({"completions": {"samples": 2}}, "completions", "dose_response"),
        ({"sweep": {"multipliers": [-1, 2]}}, "sweep", "activations"),
        ({"positions": "last"}, "sweep", "vectors"),
    ],
)
def test_a_changed_key_reruns_what_depends_on_it_and_nothing_before(finished, change, first, kept):
    folder, config, _ = finished
    steering = {**config["steering"]}
    for key, value in change.items():
        old = steering.get(key)
        steering[key] = {**old, **value} if isinstance(value, dict) and old else value
    try:
        rules = planned(folder, {**config, "steering": steering})
        assert first in rules
        assert "completions_table" in rules or "plot_heatmap" in rules
        assert kept not in rules
    finally:
        snakemake(folder, config, "--dry-run")  # writes the old configuration back


@pytest.mark.parametrize(
    "choices",
    [
        {"estimator": "pca", "multiplier_unit": "residual", "layer": [1, 2], "positions": "all"},
        {"estimator": "probe", "normalise": True, "layer": 3, "positions": "last"},
    ],
)
def test_other_vectors_units_positions_and_blocks_run_from_the_vectors_on(
    finished, tmp_path, choices
):
    folder, config, _ = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = {**config, "steering": {**config["steering"], **choices}}
    scores = "results/tiny/steering/one.answers.sweep.parquet"
    process = snakemake(tmp_path, config, scores)
    assert process.returncode == 0, process.stderr
    ours, before = (pd.read_parquet(where / scores) for where in (tmp_path, folder))
    unsteered, steered = (ours["layer"] == -1), (ours["layer"] != -1)
    pd.testing.assert_frame_equal(ours[unsteered], before[before["layer"] == -1])
    assert ours[steered]["logit_diff"].notna().all()
    named = "+".join(map(str, np.atleast_1d(choices["layer"])))
    assert set(ours[steered & (ours["split"] == "test")]["layers"]) == {named}


def test_figures_are_regenerated_from_tables_alone(finished):
    folder, config, _ = finished
    before = tables(folder)
    # of all of them: tests/test_sharing.py
    for path in (folder / "figures/tiny").glob("[hl]*"):
        path.unlink()
    rules = planned(folder, config, "figures")
    assert {"plot_heatmap", "plot_layer_sweep", "plot_lookups_published"} <= rules
    assert all(rule.startswith(("plot_", "figures")) for rule in rules), rules
    assert snakemake(folder, config, "figures").returncode == 0
    assert tables(folder) == before


def test_results_do_not_depend_on_the_batch_budget(finished, tmp_path, model_folders):
    folder, _, _ = finished
    config = make_study(tmp_path, model_folders["llama"])
    process = snakemake(tmp_path, {**config, "batch_tokens": 51}, "steering")
    assert process.returncode == 0, process.stderr
    for name in ("layer_sweep", "heatmap", "dose_response", "steerability", "norms", "completions"):
        one, other = (
            pd.read_csv(where / f"results/tiny/tables/{name}.csv") for where in (folder, tmp_path)
        )
        pd.testing.assert_frame_equal(one, other, rtol=1e-3, atol=1e-4)


def test_a_killed_run_in_shards_resumes_to_the_bytes_of_an_unsharded_one(
    finished, tmp_path, model_folders
):
    folder, _, _ = finished
    config = make_study(tmp_path, model_folders["llama"])
    config["steering"]["sweep"]["shards"] = 2
    snakemake(tmp_path, config, "--dry-run")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["steering", "--directory", str(tmp_path), "--cores", "1", "--resources", "gpu=1"]
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "results/tiny/activations").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert snakemake(tmp_path, config, "--unlock").returncode == 0
    todo = planned(tmp_path, config, "steering")
    assert "activations" in todo
    assert "prompts" not in todo
    process = snakemake(tmp_path, config, "steering")
    assert process.returncode == 0, process.stderr
    ours, whole = tables(tmp_path), tables(folder)
    ours = {name: data for name, data in ours.items() if "/shards/" not in name}
    assert len(ours) > 20
    assert {name for name, data in ours.items() if whole[name] != data} == set()


def test_a_script_runs_by_itself_from_its_job_note(finished):
    folder, _, _ = finished
    note = "results/tiny/logs/vectors/one.answers.log.job.json"
    vectors = folder / "results/tiny/vectors/one.answers.safetensors"
    before = vectors.read_bytes()
    vectors.unlink()
    script = ROOT / "scripts/vectors.py"
    process = subprocess.run([sys.executable, script, note], cwd=folder, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert vectors.read_bytes() == before
