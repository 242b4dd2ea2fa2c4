"""The studies that come with the workflow: planned without a network; a small copy runs whole."""

import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from endpoints import answering
from local_hub import serving
from small_copies import STUDIES, answer, environment, flat, merged, shrunk, small_copy
from small_data import small_file
from study import command

from steerpaper.steering.items import read_items, with_sides

pytestmark = pytest.mark.workflow
NAMES = [study.stem for study in STUDIES]
TABLES = yaml.safe_load((ROOT / "report/tables.yaml").read_text())


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
def test_a_study_is_planned_without_a_network(study, tmp_path):
    """With a hub and a proxy that nobody answers at, the plan names what is to be fetched."""
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    nowhere = "http://127.0.0.1:9"
    away = dict.fromkeys(["HF_ENDPOINT", "http_proxy", "https_proxy", "all_proxy"], nowhere)
    typed = command(tmp_path, "paper", "--dry-run", "--configfile", str(study))
    process = subprocess.run(typed, capture_output=True, text=True, env={**os.environ, **away})
    said = process.stdout + process.stderr
    assert process.returncode == 0, said
    config = merged(study)
    assert f"results/{config['study']}/paper.pdf" in said
    assert f"Fetching the model {config['model']['name']}" in said
    left_out = {"steering", "lookups"} - set(config.get("studies", ["steering", "lookups"]))
    assert not any(f"results/{config['study']}/{one}/" in said for one in left_out)
    assert not list(tmp_path.rglob("*.manifest.json"))


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
def test_a_small_copy_of_a_study_runs_whole(study, tmp_path):
    (tmp_path / "made").mkdir()
    with serving() as shelf, answering(answer) as (chat, asked):
        config = small_copy(study, tmp_path / "made", shelf, chat)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        process = subprocess.run(
            command(tmp_path, "all"),
            capture_output=True,
            text=True,
            env=environment(tmp_path, shelf),
        )
    assert process.returncode == 0, process.stdout + process.stderr
    of_study, of_copy = flat(merged(study)), flat(config)
    changed = {key for key, value in of_copy.items() if of_study.get(key, ...) != value}
    served = {key for key in changed if re.search(r"\.(url|sha256|licence|base_url)$", key)}
    assert changed - served - {"model.source", "model.path"} <= shrunk(study)
    results = tmp_path / "results" / config["study"]
    assert (results / "paper.pdf").read_bytes().startswith(b"%PDF")
    assert (results / "ro-crate-metadata.json").exists()
    if "lookups" in config.get("studies", ["lookups"]):
        scores = pd.read_csv(results / "tables/lookups_explanations.csv")
        if config["lookups"]["explanations"]["explainer"] == "openai":
            assert scores["scored"].sum() > 0
            assert asked
    if any("verdict" in row["tables"] for row in TABLES.values()):
        assert len(pd.read_csv(results / "tables/verdict.csv")) > 0


def test_small_files_are_read_as_the_published_ones_are(tmp_path):
    expected = {"generate_dataset.json": 12, "advanced-ai-risk/a.jsonl": 24, "persona/b.jsonl": 24}
    for name, items in expected.items():
        path = tmp_path / Path(name).name
        path.write_bytes(small_file(name))
        assert len(read_items(path)) == items
    sides = [item.side for item in with_sides(read_items(tmp_path / "b.jsonl"))]
    assert sides.count("Yes") == sides.count("No") == 12
    with pytest.raises(LookupError, match=r"small_data\.py"):
        small_file("tea.parquet")
