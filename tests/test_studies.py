"""The studies that come with the workflow: planned without a network; a small copy runs whole."""

import itertools
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from endpoints import answering
from local_hub import serving
from small_copies import STUDIES, answer, environment, flat, merged, shrunk, small_copy
from small_data import small_file
from study import command

from steerpaper.published.registry import own_papers, read_paper, read_registry
from steerpaper.published.table import Study, printed_of
from steerpaper.steering.items import read_items, with_sides
from steerpaper.steering.questions import read_questions
from steerpaper.workflow.data import pinned
from steerpaper.workflow.declared import values_of
from steerpaper.workflow.places import data_sources
from steerpaper.workflow.sources import named_model

pytestmark = pytest.mark.workflow
NAMES = [study.stem for study in STUDIES]


def paper_of(study):
    """The paper that a study rebuilds, by its name; "" for none."""
    return next((name for name in own_papers() if study.stem.startswith(name)), "")


OF_PAPERS = [study for study in STUDIES if paper_of(study)]
# one study of each paper runs to its manuscript, the others to their verdict, and what they are for
TARGETS = {
    "neo-2024-pythia-160m": ["paper"],
    "caa-2023-llama-2-7b": ["paper"],
    "tan-2024": ["paper"],
    "all-behaviors": ["published", "figures/all-behaviors/layer_sweep.csv"],
}
# a copy of the demo runs to its report with the notebook: tests/test_notebook.py
RUN_HERE = [study for study in STUDIES if study.stem != "demo"]
# whatever is tested, one study's copy is run
LONG = {f"neo-2024-{name}" for name in ("gpt2-small", "gpt2-medium", "gpt2-large", "pythia-1.4b")}
LONG |= {"caa-2023-llama-2-7b", "caa-2023-llama-2-13b", "tan-2024", "all-behaviors"}
# protocol keys in which a study says that it is not the paper's (see its head), by paper
DIFFERS = {"caa-2023": set(), "neo-2024": {"lookups.corpus.train"}, "tan-2024": set()}
# what no key says; see `differs` in data/published
ALWAYS = {"neo-2024": {"test prompts", "active heads"}}


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
def test_a_study_is_planned_without_a_network(study, tmp_path):
    """With a hub and a proxy that nobody answers at, the plan names what is to be fetched."""
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    nowhere = "http://127.0.0.1:9"
    away = dict.fromkeys(["HF_ENDPOINT", "http_proxy", "https_proxy", "all_proxy"], nowhere)
    typed = command(tmp_path, "paper", "--dry-run", "--configfile", str(study), warm=True)
    process = subprocess.run(typed, capture_output=True, text=True, env={**os.environ, **away})
    said = process.stdout + process.stderr
    assert process.returncode == 0, said
    config = merged(study)
    assert f"results/{config['study']}/paper.pdf" in said
    assert f"Fetching the model {config['model']['name']}" in said
    left_out = {"steering", "lookups"} - set(config.get("studies", ["steering", "lookups"]))
    assert not any(f"results/{config['study']}/{one}/" in said for one in left_out)
    assert not list(tmp_path.rglob("*.manifest.json"))


@pytest.mark.parametrize("study", OF_PAPERS, ids=[study.stem for study in OF_PAPERS])
def test_a_papers_study_has_the_papers_protocol_and_data(study):
    """Of every number that is held against ours, beside what the study's head says differs."""
    name = paper_of(study)
    paper = read_paper(**own_papers()[name], registry=read_registry())
    config = merged(study)
    of_study = Study(**named_model(config["model"]), values={}, digests={})
    printed = [one for one in printed_of(paper, of_study) if paper.quantity_of(one).ours]
    assert printed
    assert all(of_study.id in paper.models[one.model].id for one in printed)
    sources = {key: pinned(place[one]) for key, place, one in data_sources(config)}
    for number in printed:
        wanted = paper.protocol_of(number, of_model=True)
        values = values_of(config, list(wanted))
        assert {key for key in wanted if values[key] != wanted[key]} <= DIFFERS[name]
        digests = paper.data_of(number)
        assert digests == {key: sources.get(key) for key in digests}


def run_small_copy(study, folder):
    """Run a study's small copy: its configuration, results, and what its endpoint was asked."""
    (folder / "made").mkdir()
    with serving() as shelf, answering(answer) as (chat, asked):
        config = small_copy(study, folder / "made", shelf, chat)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        process = subprocess.run(
            command(folder, *TARGETS.get(study.stem, ["published"]), warm=True),
            capture_output=True,
            text=True,
            env=environment(folder, shelf),
        )
    assert process.returncode == 0, process.stdout + process.stderr
    results = folder / "results" / config["study"]
    return SimpleNamespace(config=config, results=results, asked=asked)


@pytest.mark.parametrize(
    "study",
    [
        pytest.param(study, id=study.stem, marks=[pytest.mark.long] if study.stem in LONG else [])
        for study in RUN_HERE
    ],
)
def test_a_small_copy_of_a_study_runs_to_its_verdict(study, tmp_path):
    finished = run_small_copy(study, tmp_path)
    config, results = finished.config, finished.results
    of_study, of_copy = flat(merged(study)), flat(config)
    changed = {key for key, value in of_copy.items() if of_study.get(key, ...) != value}
    served = {key for key in changed if re.search(r"\.(url|sha256|licence|base_url)$", key)}
    assert changed - served - {"model.source", "model.path"} <= shrunk(study)
    table = pd.read_csv(results / "tables/verdict.csv", keep_default_na=False)
    assert set(table["verdict"]) <= {"not comparable"}
    if study not in OF_PAPERS:
        assert table.empty
        rows_of_all_behaviors(finished)
        return
    name = paper_of(study)
    assert set(table["paper"]) <= {name}
    assert len(table) == len(wanted_of(name, config))
    # what is not as the paper has it is what was made small (of few neurons there is no interval),
    # and what the study's head says
    heads = {part.partition(": ")[0] for one in table["reason"] for part in one.split("; ")}
    allowed = {"data", "n", "interval"} | shrunk(study) | DIFFERS[name] | ALWAYS.get(name, set())
    assert heads <= allowed
    {"caa-2023": rows_of_caa, "neo-2024": rows_of_neo, "tan-2024": rows_of_tan}[name](finished)
    if "paper" in TARGETS.get(study.stem, []):
        assert (results / "paper.pdf").read_bytes().startswith(b"%PDF")


def wanted_of(name, config):
    """The paper's numbers that a study with these behaviours and sets has beside its own."""
    paper = read_paper(**own_papers()[name], registry=read_registry())
    of_study = Study(**named_model(config["model"]), values={}, digests={})
    sets = config["steering"]["benchmarks"]["sets"]
    return [
        one
        for one in printed_of(paper, of_study)
        if (quantity := paper.quantity_of(one)).ours
        and not any("none" in quantity.keys[key] for key in one.setting)
        and one.setting.get("behavior") in (None, *config["steering"]["behaviors"])
        and sets.get(one.quantity, ...)
        and (one.setting.get("neurons") != "random" or config["lookups"]["neurons"]["random"])
    ]


def rows_of_all_behaviors(finished):
    """Every block is swept."""
    table = pd.read_csv(finished.results / "tables/layer_sweep.csv")
    assert {*table["behavior"]} == {*finished.config["steering"]["behaviors"]}
    assert {*table["layer"]} == {*range(8)}


def rows_of_caa(finished):
    """Propensities under three system prompts, and benchmarks, which rest on other files."""
    results, behaviors = finished.results, finished.config["steering"]["behaviors"]
    table = pd.read_csv(results / "tables/verdict.csv")
    asked = table[table["quantity"] == "p_matching"]
    for behavior, system, multiplier in itertools.product(
        behaviors, ("none", "positive", "negative"), (-1, 0, 1)
    ):
        setting = f"behavior={behavior}; multiplier={multiplier}; system_prompt={system}"
        (row,) = asked[asked["setting"] == setting].itertuples()
        assert row.low <= row.ours <= row.high
        *data, n, made_small = row.reason.split("; ")
        files = [f"data: behaviors.{behavior}.splits.{split} is " for split in ("train", "test")]
        assert [one[: len(file)] for one, file in zip(data, files, strict=True)] == files
        assert n == "n: 12, the paper's 50"
        # of these the vector's norm is a mean
        assert made_small.startswith("steering.behaviors: ")
    sets = {name for name, one in finished.config["steering"]["benchmarks"]["sets"].items() if one}
    assert {*table["quantity"]} == {"p_matching", *sets}
    for row in table[table["quantity"].isin(sets)].itertuples():
        files = set(re.findall(r"data: (\S+)", row.reason))
        behavior = re.search("behavior=([^;]+)", row.setting)
        of_vector = {f"behaviors.{behavior[1]}.splits.train"} if behavior else set()
        assert files == {f"steering.benchmarks.sets.{row.quantity}.file"} | of_vector
        assert f"n: 24, the paper's {row.published_n:.0f}" in row.reason
        assert row.low <= row.ours <= row.high
    if (results / "paper.pdf").exists():
        ratings = pd.read_csv(results / "tables/ratings.csv")
        assert (ratings["unparsed"] == 0).all()
        assert ratings["value"].between(0, 10).all()
        assert len(finished.asked) == ratings["n"].sum()


def rows_of_neo(finished):
    """Scores of explanations by the endpoint, and the distance between ablated and whole heads."""
    table = pd.read_csv(finished.results / "tables/verdict.csv")
    assert {"explanation_score"} <= {*table["quantity"]} <= {"explanation_score", "ablation_ks"}
    scores = pd.read_csv(finished.results / "tables/lookups_explanations.csv")
    assert scores["scored"].sum() > 0
    assert finished.asked


def rows_of_tan(finished):
    """The paper's results stand in figures alone; ours are correlations over the data sets kept."""
    assert pd.read_csv(finished.results / "tables/verdict.csv").empty
    table = pd.read_csv(finished.results / "tables/prompt_kinds_correlation.csv")
    kinds = {"base", *finished.config["steering"]["prompt_kinds"]["kinds"]}
    pairs = {*itertools.product(kinds, kinds)} - {("base", "base")}
    assert len(kinds) == 5
    for _, of_measure in table.groupby("measure"):
        assert {*zip(of_measure["trained"], of_measure["used"], strict=True)} == pairs
    assert (table["n"] == len(finished.config["steering"]["behaviors"])).all()


def test_small_files_are_read_as_the_published_ones_are(tmp_path):
    expected = {"generate_dataset.json": 12, "advanced-ai-risk/a.jsonl": 24, "persona/b.jsonl": 24}
    for name, items in expected.items():
        path = tmp_path / Path(name).name
        path.write_bytes(small_file(name))
        assert len(read_items(path)) == items
    sides = [item.side for item in with_sides(read_items(tmp_path / "b.jsonl"))]
    assert sides.count("Yes") == sides.count("No") == 12
    for name in ("Datasets/test/mmlu/mmlu.json", "Datasets/test/truthfulqa/truthful_qa.json"):
        path = tmp_path / Path(name).name
        path.write_bytes(small_file(name))
        questions = read_questions(path, "caa", name)
        assert len(questions) == 24
        assert {question.category for question in questions} == {"Law", "Health"}
        assert {question.correct for question in questions} == {0, 1}
    with pytest.raises(LookupError, match=r"small_data\.py"):
        small_file("tea.parquet")
