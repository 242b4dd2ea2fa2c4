"""The whole workflow on a tiny model: from raw prompts to figures, resumed, re-run, moved."""

import base64
import copy
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, mostly_long
from study import command, copy_of_tree, make_study, planned, snakemake, tables

pytestmark = pytest.mark.workflow

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
        "contrast",
        "n_matching",
        "n_other",
        "beyond_scaling",
        "norm",
    ]
    dev, test = (sweep[sweep["split"] == split] for split in ("dev", "test"))
    # 4 items: unsteered once, and 4 blocks x 2 multipliers
    assert len(dev) == 4 * (1 + 4 * 2)
    # the vector, the vector at the residual's norm, and two controls of each kind
    assert len(test) == 6 * (1 + 2 + 2 + 2 * 2 * 2)
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
    rules = planned(folder, merged(config, {"steering": change}))
    assert first in rules
    assert {"plot_heatmap", "plot_completions"} & rules
    assert kept not in rules


def merged(config, changes):
    """A configuration with some keys changed."""
    found = copy.deepcopy(config)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if both else value
    return found


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        # what another key of the rule has, and swaps: Snakemake compares values without names
        ({"lookups": {"corpus": {"train": 24}}}, "corpus"),
        ({"lookups": {"neurons": {"random": 2}}}, "neurons"),
        ({"lookups": {"neurons": {"next_token": 1, "random": 2}}}, "neurons"),
        ({"steering": {"reasoning": {"prompts": 1, "samples": 2}}}, "reasoning"),
        ({"steering": {"convergence": {"compare": {"items": 5}}}}, "convergence"),
        ({"steering": {"cost": {"questions": 1}}}, "cost_prompts"),
        ({"statistics": {"measures": ["p_matching"]}}, "steering_tables"),
        ({"figures": {"layers": [0, 1]}}, "plot_cosine_behaviors"),
    ],
)
def test_no_change_goes_unseen(finished, changes, rule):
    folder, config, _ = finished
    assert rule in planned(folder, merged(config, changes))


# the manuscript among them: its appendix holds the configuration
RECORDS = {"all", "provenance", "crate", "report_pages", "manuscript"}


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"batch_tokens": 5000}, set()),
        ({"gpus_per_job": 2, "offload": {"to": "disk", "cpu_memory": 4}}, set()),
        ({"threads": 2}, set()),
        ({"behaviors_per_job": "all"}, set()),
        ({"steering": {"prompts": {"csv": False}}}, set()),
        ({"steering": {"sweep": {"shards": 2}}, "lookups": {"corpus": {"shards": 2}}}, set()),
    ],
)
def test_what_changes_no_result_runs_no_job_that_makes_one(finished, changes, more):
    folder, config, _ = finished
    assert planned(folder, merged(config, changes)) <= RECORDS | more


def test_prompts_as_csv_are_written_from_the_prompt_files(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "results/tiny/prompts").glob("*.csv"):
        path.unlink()
    rules = planned(tmp_path, finished[1])
    assert rules - RECORDS == {"prompts_csv"}


def test_more_controls_make_no_vectors_and_no_sweep_anew(finished):
    folder, config, _ = finished
    changes = {"steering": {"dose_response": {"random": {"directions": 9}}}}
    rules = planned(folder, merged(config, changes))
    assert "dose_response" in rules
    assert not {"vectors", "steering_vectors", "sweep", "activations"} & rules


def test_raw_data_that_says_the_same_makes_nothing_anew(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    items = tmp_path / "one.jsonl"
    items.write_text(items.read_text() + "\n\n")
    (tmp_path / "one.yaml").touch()
    assert planned(tmp_path, finished[1]) <= RECORDS
    items.write_text(items.read_text().replace("friend", "companion"))
    assert {"prompts", "sweep", "steering_tables"} <= planned(tmp_path, finished[1])


def test_a_comment_or_a_docstring_makes_nothing_anew_and_an_edit_what_depends_on_it(
    finished, tmp_path
):
    clone = copy_of_tree(tmp_path / "clone")
    shutil.copytree(finished[0], clone, dirs_exist_ok=True)
    # the finished study was made by the workflow in another place
    assert snakemake(clone, finished[1], "--touch", root=clone).returncode == 0
    library = clone / "scripts/steerpaper"
    for name in ("errors.py", "engine/score.py"):
        text = (library / name).read_text()
        (library / name).write_text("# a comment\n" + text.replace('"""', '"""Another. ', 1))
    shutil.move(clone, tmp_path / "renamed")
    clone = tmp_path / "renamed"
    assert planned(clone, None, root=clone) == set()
    score = clone / "scripts/steerpaper/engine/score.py"
    score.write_text(score.read_text() + "\nMORE = 1\n")
    rules = planned(clone, None, root=clone)
    assert {"sweep", "dose_response"} <= rules
    assert not {"prompts", "activations", "vectors"} & rules


@pytest.mark.parametrize(
    "choices",
    [
        {"estimator": "pca", "multiplier_unit": "residual", "layer": [1, 2], "positions": "all"},
        {"estimator": "probe", "normalize": True, "layer": 3, "positions": "last"},
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
    assert set(ours[unsteered]["direction"]) == {"unsteered"}
    pd.testing.assert_frame_equal(ours[unsteered], before[before["layer"] == -1])
    assert ours[steered]["logit_diff"].notna().all()
    named = "+".join(map(str, np.atleast_1d(choices["layer"])))
    assert set(ours[steered & (ours["split"] == "test")]["layers"]) == {named}


def test_figures_are_regenerated_from_tables_alone(finished):
    folder, config, _ = finished
    before = tables(folder)
    # of all of them: tests/test_sharing.py
    for name in ("heatmap", "layer_sweep", "lookups_published"):
        for path in (folder / "figures/tiny").glob(f"{name}.*"):
            path.unlink()
    rules = planned(folder, config, "figures")
    assert {"plot_heatmap", "plot_layer_sweep", "plot_lookups_published"} <= rules
    assert all(rule.startswith(("plot_", "figures")) for rule in rules), rules
    assert snakemake(folder, config, "figures").returncode == 0
    assert tables(folder) == before


@pytest.mark.parametrize("everything", mostly_long([False, True], False))
def test_a_killed_run_goes_on_to_the_same_bytes_whatever_the_budget_shards_and_cores(
    finished, tmp_path, model_folders, everything
):
    folder, config, _ = finished
    make_study(tmp_path, model_folders["llama"])
    sharded = {"steering": {"sweep": {"shards": 2}}, "lookups": {"corpus": {"shards": 2}}}
    config = merged(config, {"batch_tokens": config["batch_tokens"] // 10, **sharded})
    # what models make for one behaviour: tables follow from it, and figures from tables
    targets = [
        str(path.relative_to(folder))
        for part in ("steering/one.*.parquet", "lookups/*.parquet")
        for path in (folder / "results/tiny").glob(part)
    ]
    assert len(targets) > 20
    if everything:
        targets = ["steering", "lookups_tables"]
    snakemake(tmp_path, config, *targets, "--dry-run")
    running = subprocess.Popen(
        command(tmp_path, *targets),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    results = tmp_path / "results/tiny"
    deadline = time.monotonic() + 300
    while not list((results / "vectors").glob("*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    begun = [
        base64.b64decode(path.name).decode()
        for path in (tmp_path / ".snakemake/incomplete").rglob("*")
        if path.is_file()
    ]
    made = {
        path: path.stat().st_mtime_ns
        for part in ("prompts", "activations", "vectors")
        for path in (results / part).glob("[!.]*")
        if str(path.relative_to(tmp_path)) not in begun
    }
    assert made
    assert snakemake(tmp_path, config, "--unlock").returncode == 0
    process = snakemake(tmp_path, config, *targets, "merge_activations", cores=2)
    assert process.returncode == 0, process.stderr
    # what was finished is not made again
    assert {path: path.stat().st_mtime_ns for path in made} == made
    ours, whole = tables(tmp_path), tables(folder)
    ours = {name: data for name, data in ours.items() if "/shards/" not in name}
    assert len(ours) > 60 if everything else ours.keys() >= set(targets)
    assert {name for name in ours if whole[name] != ours[name]} == set()


def test_a_script_runs_by_itself_from_its_job_note(finished):
    folder, _, _ = finished
    note = "results/tiny/logs/vectors/one.log.job.json"
    vectors = folder / "results/tiny/vectors/one.answers.safetensors"
    before = vectors.read_bytes()
    vectors.unlink()
    script = ROOT / "scripts/steering/vectors.py"
    process = subprocess.run([sys.executable, script, note], cwd=folder, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert vectors.read_bytes() == before
