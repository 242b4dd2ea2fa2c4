"""What docs/development.md says an addition costs: its examples are done in a copy of the tree."""

import copy
import re
import shutil

import pandas as pd
import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from study import copy_of_tree, planned, snakemake

from steerpaper.steering.conditions import KINDS
from steerpaper.workflow.files import read_jsonl, read_tensors

pytestmark = pytest.mark.workflow

PAGE = (ROOT / "docs/development.md").read_text()
STEP = re.compile(
    r"^Into `(?P<path>[^`]+)`(?:, (?P<end>at the end)|, below `(?P<below>[^`]+)`|[^`\n]*):\n\n"
    r"```\w+\n(?P<text>.*?)^```",
    re.M | re.S,
)


@pytest.fixture(scope="module")
def workshop(finished_study, tmp_path_factory):
    """A copy of the tree, and a finished study that this copy holds to be up to date."""
    folder, config, _ = finished_study
    tree, study = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("study")
    copy_of_tree(tree)
    shutil.copytree(folder, study, dirs_exist_ok=True, symlinks=True)
    process = snakemake(study, config, "--touch", root=tree)
    assert process.returncode == 0, process.stderr
    assert planned(study, config, root=tree) == set()
    gpu = {
        name for name, rule in rules_of(study, config, tree).items() if "gpu" in rule["resources"]
    }
    assert "sweep" in gpu
    (study / "config.yaml").write_text(yaml.safe_dump(config))
    return tree, study, config, gpu


@pytest.fixture
def copied(workshop, tmp_path):
    """The workshop's tree to be edited, its study, the configuration, and the rules with a GPU."""
    tree, finished, config, gpu = workshop
    study = tmp_path / "study"
    shutil.copytree(finished, study, symlinks=True)
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    yield tree, study, copy.deepcopy(config), gpu
    # as it was, times and all, for the next test
    for path in [*tree.rglob("*")]:
        if path.is_file() and path not in before:
            path.unlink()
    for path, content in before.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
            shutil.copystat(ROOT / path.relative_to(tree), path)


def do(tree, title):
    """Do what the page says under a heading; the files that it touches."""
    section = PAGE.split(f"### {title}\n")[1].split("\n## ")[0].split("\n### ")[0]
    touched = []
    for step in STEP.finditer(section):
        path = tree / step["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if step["end"]:
            path.write_text(path.read_text() + "\n\n" + step["text"])
        elif step["below"]:
            before, line, after = path.read_text().partition(step["below"] + "\n")
            assert line
            path.write_text(before + line + step["text"] + after)
        else:
            assert not path.exists()
            path.write_text(step["text"])
        touched.append(step["path"])
    assert touched
    return touched


def test_a_figure_is_a_function_a_row_and_a_caption(copied):
    tree, study, config, _ = copied
    assert len(do(tree, "A figure")) == 3
    rules = planned(study, config, "figures", root=tree)
    assert "plot_slope_by_letter" in rules
    assert all(rule.startswith(("plot_", "figures")) for rule in rules), rules
    process = snakemake(study, config, "figures/tiny/slope_by_letter.png", root=tree)
    assert process.returncode == 0, process.stderr
    assert (study / "figures/tiny/slope_by_letter.pdf").stat().st_size > 1000


def test_an_estimator_is_one_file(copied):
    tree, study, config, _ = copied
    assert len(do(tree, "An estimator")) == 1
    config["steering"]["estimator"] = "median_difference"
    steering = "results/tiny/vectors/one.answers.steering.safetensors"
    process = snakemake(study, config, steering, root=tree)
    assert process.returncode == 0, process.stderr
    vectors, _ = read_tensors(study / "results/tiny/vectors/one.answers.safetensors")
    chosen, _ = read_tensors(study / steering)
    assert set(vectors) >= {"mean_difference", "median_difference", "pca", "probe"}
    assert (vectors["median_difference"] != vectors["mean_difference"]).any()
    assert (chosen["behavior"] == vectors["median_difference"]).mean() > 0.9


def test_a_measure_is_one_entry(copied):
    tree, study, config, gpu = copied
    assert len(do(tree, "A measure")) == 1
    config["statistics"]["measures"] = ["logit_diff", "logprob_other"]
    # which scores are summed up is no reason to score again
    assert not planned(study, config, "steering_tables", "reasoning_table", root=tree) & gpu
    process = snakemake(study, config, "steering_tables", root=tree)
    assert process.returncode == 0, process.stderr
    table = pd.read_csv(study / "results/tiny/tables/dose_response.csv")
    assert set(table["measure"]) == {"logit_diff", "logprob_other"}
    other = table[table["measure"] == "logprob_other"]
    # of controls a dose has the change alone
    other = other[~other["direction"].isin(KINDS)]
    assert (other["logprob_other"] < 0).all()
    assert other["logit_diff"].isna().all()


def test_a_behaviour_is_two_files_and_its_name(copied):
    tree, study, config, _ = copied
    assert len(do(tree, "A behaviour")) == 2
    files = {"items": "punctuality.jsonl", "about": "punctuality.yaml"}
    config["behaviors"] = {
        "punctuality": {key: f"data/behaviors/{name}" for key, name in files.items()}
    }
    config["steering"]["behaviors"] = ["punctuality"]
    config["steering"]["prompts"]["split"] = {"train": 2, "dev": 2, "test": 2}
    prompts = "results/tiny/prompts/punctuality.answers.train.jsonl"
    process = snakemake(study, config, prompts, root=tree)
    assert process.returncode == 0, process.stderr
    assert len(read_jsonl(study / prompts)) == 2


@pytest.mark.parametrize(
    "edited",
    [
        "scripts/steerpaper/stats.py",
        "scripts/steerpaper/plots/effects.py",
        "scripts/steerpaper/plots/style.py",
        "scripts/steerpaper/steering/tables/effects.py",
        "scripts/steerpaper/steering/tables/reasoning.py",
        "scripts/steerpaper/lookups/tables/ablations.py",
        "scripts/steerpaper/workflow/job.py",
        "scripts/steerpaper/workflow/files.py",
        "scripts/steerpaper/errors.py",
        "report/captions/layer_sweep.rst",
        "report/tables.yaml",
    ],
)
def test_editing_what_sums_up_draws_or_helps_runs_no_model(copied, edited):
    tree, study, config, gpu = copied
    path = tree / edited
    path.write_text(path.read_text() + "\n# edited\n")
    rules = planned(study, config, root=tree)
    assert not rules & gpu
    assert not rules & {"model", "corpus", "prompts", "vectors", "best_block", "chosen_heads"}
