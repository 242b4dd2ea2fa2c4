"""The demo and the notebook: planned as they are, and run whole with a tiny model."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from nbclient import NotebookClient
from small_copies import STUDIES, small_copy
from study import copy_of_tree, planned
from warm import launcher

NOTEBOOK = ROOT / "notebooks/steerpaper.ipynb"
(DEMO,) = (study for study in STUDIES if study.stem == "demo")


def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_stored_without_outputs_and_its_cells_are_plain_python():
    book = notebook()
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code
    for cell in code:
        assert not cell.outputs
        assert cell.execution_count is None
        ast.parse(cell.source)
    links = re.findall(r"\]\((\.\./[^)]+)\)", NOTEBOOK.read_text())
    assert links
    assert all((NOTEBOOK.parent / link).exists() for link in links)


def test_make_demo_is_the_demo_study_to_its_report():
    typed = ["make", "--dry-run", "--no-print-directory", "--old-file", ".venv/ready", "demo"]
    # the tests' own make hands its settings on
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    made = subprocess.run(typed, cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
    command, *last = made.stdout.splitlines()
    cores = "--cores 2 --resources gpu=1"
    assert command == f".venv/bin/snakemake report {cores} --configfile studies/demo.yaml"
    assert "results/demo/report.html" in " ".join(last)


@pytest.mark.workflow
def test_the_demo_makes_nothing_beside_what_its_report_shows(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    plan = planned(tmp_path, config, "report", "--configfile", str(DEMO))
    assert {"sweep", "dose_response", "completions", "report"} <= plan
    figures = {rule for rule in plan if rule.startswith("plot_")}
    assert {"plot_layer_sweep", "plot_dose_response", "plot_completions"} <= figures
    # one behaviour has none beside it, and parts that are left out have no figure
    assert not figures & {"plot_cosine_behaviors", "plot_cost", "plot_reasoning", "plot_transfer"}
    assert not {"manuscript", "corpus", "logprobs", "reasoning", "cost"} & plan


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook after its cells have run, in a clone whose demo has a tiny model."""
    folder = copy_of_tree(tmp_path_factory.mktemp("clone"))
    demo = small_copy(DEMO, tmp_path_factory.mktemp("made"), None, "http://127.0.0.1:9")
    (folder / "studies/demo.yaml").write_text(yaml.safe_dump(demo))
    # what is installed is not installed again, nor imported by every process
    own = folder / ".venv/bin"
    own.mkdir(parents=True)
    for path in (*Path(sys.prefix).iterdir(), *Path(sys.prefix, "bin").iterdir()):
        if path.name not in ("ready", "bin", "snakemake"):
            place = own if path.parent.name == "bin" else own.parent
            (place / path.name).symlink_to(path)
    # how a kernel's figures are shown, processes that were forked from elsewhere cannot be told
    run = f'#!/bin/sh\nunset MPLBACKEND\nexec {launcher()} -m snakemake "$@"\n'
    (own / "snakemake").write_text(run)
    (own / "snakemake").chmod(0o755)
    (folder / ".venv/ready").touch()
    book = notebook()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        where = {"metadata": {"path": str(folder / "notebooks")}}
        NotebookClient(
            book, timeout=None, startup_timeout=600, kernel_name="python3", resources=where
        ).execute()
    outputs = [cell.outputs for cell in book.cells if cell.cell_type == "code"]
    return SimpleNamespace(folder=folder, outputs=outputs)


def printed(outputs):
    return "".join(one.text for one in outputs if one.output_type == "stream")


def data(outputs, kind):
    return [one.data[kind] for one in outputs if kind in one.get("data", {})]


@pytest.mark.workflow
def test_the_notebook_runs_from_a_fresh_kernel_and_shows_figures_and_tables(executed):
    clone, setup, demo, shown, _, own, gpu = executed.outputs
    assert printed(clone) == f"in {executed.folder}\n"
    assert "Nothing to be done" in printed(setup) or "is up to date" in printed(setup)
    assert "Open results/demo/report.html in a browser" in printed(demo)
    assert (executed.folder / "results/demo/report.html").stat().st_size > 100_000
    assert len(data(shown, "image/png")) == 3
    assert len(data(own, "image/png")) == 2
    if "no GPU" in printed(setup):
        assert "no GPU here" in printed(gpu)
    else:
        assert len(data(gpu, "image/png")) == 2


@pytest.mark.workflow
def test_the_notebooks_tables_are_the_studies(executed):
    for outputs, study in ((executed.outputs[3], "demo"), (executed.outputs[5], "tidiness")):
        path = executed.folder / f"results/{study}/tables/steerability.csv"
        (row,) = pd.read_csv(path, dtype=str).to_dict("records")
        (shown,) = data(outputs, "text/markdown")
        head, _, cells = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines()
        )
        assert dict(zip(head, cells, strict=True)) == {key: row[key] for key in head}
        assert row["n"] == "6"
        assert "few items" in row["flags"]
