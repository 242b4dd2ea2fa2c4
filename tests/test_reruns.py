"""Every key of the configuration: exactly which rules run again when it changes.

The workflow is read once for every change, in this process, and compared as Snakemake compares:
a rule's params as a set of representations, without their names, its inputs, its outputs.
tests/settings.yaml lists the rules a key; to write it again:

    PYTHONPATH=scripts python tests/test_reruns.py
"""

import copy
import itertools
import json
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import mostly_long
from tiny_models import ROOT

from steerpaper.errors import UserError
from steerpaper.steering.estimators import NAMES
from steerpaper.steering.measures import MEASURES
from steerpaper.workflow.config import data_files, validated

LISTED = Path(__file__).parent / "settings.yaml"
SCHEMA = ROOT / "config.schema.yaml"
KNOWN = {"estimator": NAMES, "measure": list(MEASURES)}
# they record the configuration, and so run again whatever changes
RECORDS = {"provenance", "archive", "report"}
# what stands in no list below: how jobs are run, and what no result depends on
NOTHING = {
    "threads",
    "batch_tokens",
    "remote_batch_tokens",
    "gpus_per_job",
    *(f"offload.{key}" for key in ("to", "gpu_memory", "cpu_memory")),
    "behaviors_per_job",
    "steering.prompts.csv",  # asks for more files
    *(
        f"{section}.endpoint.{key}"
        for section in ("lookups.explanations", "steering.ratings")
        for key in (
            "key_variable",
            "max_requests",
            "parallel",
            "timeout",
            "retries",
            "price.input",
            "price.output",
        )
    ),
}
# a study of its own
STUDY = "study"
# other values than a rule can find: names, files, what a schema lists elsewhere
OTHERS = {
    "model.name": "other",
    "model.source": None,
    "model.quantize": "4bit",
    "attention": "eager",
    "batch_tokens": 512,
    "offload.to": "disk",
    "offload.gpu_memory": 3.5,
    "offload.cpu_memory": 3.5,
    "model.wheel.package": "other",
    "model.wheel.version": "0.1.3",
    "model.wheel.sha256": "0" * 64,
    "model.wheel.gguf": "other.gguf",
    "model.date": "2020-02-29",
    "model.beginning": "<|im_end|>",
    "model.chat_template": str(ROOT / "studies/templates/caa-llama-2.jinja"),
    "model.wheel.beginning": "<|im_end|>",
    "lookups.neurons.reject": ["29.5"],
    "steering.behaviors": ["warmth"],
    "steering.contrasts": ["letters"],
    "steering.estimator": "pca",
    "steering.layer": 3,
    "steering.multiplier_unit": "residual",
    "steering.positions": "all",
    "steering.prompts.system": "Be kind.",
    "steering.prompts.letters": "as_given",
    "steering.sweep.layers": {"last": 3},
    "steering.transfer.layers": {"last": 3},
    "steering.cost.neutral": "data/knowledge.jsonl",
    "steering.cost.knowledge": "data/neutral.jsonl",
    "steering.benchmarks.sets.knowledge.file": "data/neutral.jsonl",
    "steering.benchmarks.sets.knowledge.form": "mmlu",
    "steering.benchmarks.sets.knowledge.contrasts": ["answers"],
    "steering.benchmarks.sets.knowledge.questions": 24,
    "steering.benchmarks.sets.knowledge.bad_items": "drop",
    "steering.convergence.sizes": [3, 5],
    "steering.prompt_kinds.kinds": ["base", "user_for"],
    "steering.prompt_kinds.train": 20,
    "steering.prompt_kinds.norm": "own",
    "steering.ratings.judge": "local",
    "steering.ratings.endpoint.base_url": "http://localhost:1/v1",
    "steering.ratings.endpoint.key_variable": "OTHER_KEY",
    "steering.ratings.labels": "judge",
    "steering.ratings.passes": 2,
    "steering.ratings.second": {"judge": "local"},
    "statistics.measures": ["p_matching"],
    "figures.layers": [1, 2],
    "lookups.layers": {"last": 2},
    "lookups.explanations.explainer": "local",
    "lookups.explanations.endpoint.key_variable": "OTHER_KEY",
    "lookups.corpus.source": "stdlib",
    "lookups.corpus.file.path": str(ROOT / "data/knowledge.jsonl"),
    "lookups.corpus.file.column": "question",
    "steering.fixed_completions.layers": [3],
    "steering.transfer.norm": "source",
    "lookups.explanations.endpoint.base_url": "http://localhost:1/v1",
    "lookups.heads.active": [0.2, 0.7],
    "studies": ["steering"],
    "device": "cpu",
    "dtype": "bfloat16",
    "torch": "cpu",
    "paper": str(ROOT / "paper/steering.typ"),
    "study": "other",
    "verdict.papers": ["neo-2024"],
    "verdict.published": {
        "other-2024": {
            "numbers": str(ROOT / "data/published/refusal-direction.csv"),
            "about": str(ROOT / "data/published/refusal-direction.yaml"),
        }
    },
}


def default_config():
    """The default study, of two behaviours, with every section in use, written out."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["steering"]["behaviors"] = ["optimism", "sociability"]
    config["behaviors"] = {
        name: {kind: str(ROOT / path) for kind, path in config["behaviors"][name].items()}
        for name in ("optimism", "sociability", "warmth")
    }
    config["lookups"]["corpus"] |= {"source": "file", "file": {"path": "data/neutral.jsonl"}}
    config["lookups"]["explanations"]["explainer"] = "openai"
    for part in ("benchmarks", "prompt_kinds", "ratings"):
        config["steering"][part]["behaviors"] = 1
    config["steering"]["ratings"]["judge"] = "openai"
    filled = validated(config, SCHEMA, KNOWN)
    for _, place, key in data_files(filled):
        place[key] = str(ROOT / place[key])
    return filled


def leaves(value, path=()):
    """Every value that is no mapping, with its keys."""
    if isinstance(value, dict) and value and not {"last", "every"} & value.keys():
        for key, below in value.items():
            yield from leaves(below, (*path, key))
    else:
        yield path, value


def put(config, path, value):
    """A configuration with another value."""
    changed = copy.deepcopy(config)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def others(path, value):
    """Other values of a key, the likeliest first."""
    name = ".".join(path)
    if name in OTHERS:
        return [OTHERS[name]]
    if path[-1] == "behaviors":
        return [2 if value == 1 else 1]  # of the two that are studied here
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, 2 * value]
    if isinstance(value, float):
        return [value / 2, value + 1]
    if isinstance(value, list) and value and isinstance(value[0], (int, float)):
        return [[*value, max(value) + 1], [value[0] - 1, *value]]
    return []


@cache
def reader(folder):
    """A function that reads the workflow for a configuration, in a folder."""
    from snakemake.api import SnakemakeApi
    from snakemake.parser import parse
    from snakemake.settings.types import (
        ConfigSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
    )

    parsed = {}

    def parse_once(snakefile, workflow, linemap, rulecount):
        """The Python of a file of rules, whatever the configuration."""
        key = snakefile.get_path_or_uri(secret_free=True), rulecount
        if key not in parsed:
            parsed[key] = parse(snakefile, workflow, linemap, rulecount=rulecount)
        return parsed[key]

    def read(config):
        # JSON is YAML that is read fast
        (folder / "config.yaml").write_text(json.dumps(config))
        with (
            pytest.MonkeyPatch.context() as patch,
            SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api,
        ):
            patch.setattr("snakemake.workflow.parse", parse_once)
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(),
                snakefile=ROOT / "Snakefile",
                workdir=folder,
            )._get_workflow()
            workflow.include(ROOT / "Snakefile", overwrite_default_target=True)
            # the default study fetches no data: that rule has no job
            ruled = [rule for rule in workflow.rules if rule.script and rule.name != "data"]
            return {rule.name: as_compared(rule, config) for rule in ruled}

    return read


def as_compared(rule, config):
    """What Snakemake compares of a rule: params by value alone, inputs, outputs, environment."""

    values = {
        "behavior": config["steering"]["behaviors"],
        "contrast": config["steering"]["contrasts"],
        "benchmark": list(config["steering"]["benchmarks"]["sets"]),
    }
    named = [name for name in values if name in rule.wildcard_names]
    wildcards = [
        SimpleNamespace(**dict(zip(named, chosen, strict=True)))
        for chosen in itertools.product(*(values[name] for name in named))
    ]

    def plain(value):
        return [plain(value(each)) for each in wildcards] if callable(value) else value

    # what a table's files must have been made with changes when the rule that makes them does;
    # of a namespace Snakemake compares nothing
    params = {
        repr(plain(value))
        for key, value in rule.params.items()
        if key not in ("made", "beside") and not isinstance(value, SimpleNamespace)
    }
    inputs = {repr(plain(path)) for path in rule.input}
    return params, inputs, {str(path) for path in rule.output}, str(rule.conda_env)


def is_valid(config):
    """Whether the workflow takes a configuration."""
    try:
        validated(config, SCHEMA, KNOWN)
    except UserError:
        return False
    return True


def run_again(before, after):
    """The rules that differ, without those that record the configuration."""
    assert before["provenance"] != after["provenance"]
    return sorted(
        name
        for name in after
        if name not in RECORDS
        and before.get(name) != after[name]
        and name != "crate"
        # the same files by another rule: what is made keeps its cut (tests/test_chunks.py)
        and not name.startswith("chunk_")
    )


def changes(config, neighbours):
    """By key, each change that is tried: to another value, or to a neighbour's, or to both."""
    found = {}
    for path, value in leaves(config):
        name = ".".join(path)
        # a model that runs elsewhere is one of the hub (tests/test_remote_service.py)
        if name in ("study", "model.source", "model.remote") or path[0] == "behaviors":
            continue
        *parents, _ = path
        beside = config
        for key in parents:
            beside = beside[key]
        swapped = [
            one
            for one in beside.values()
            if type(one) is type(value) and one != value and path[-1] != "behaviors"
        ]
        tried = []
        for values in (others(path, value), swapped):
            valid = filter(is_valid, (put(config, path, one) for one in values))
            tried += itertools.islice(valid, 1)
        found[name] = tried if neighbours else tried[:1]
    return found


def swaps(config):
    """Pairs of keys of one section that can be swapped, with the configuration that has them so."""
    by_section = {}
    for path, value in leaves(config):
        if path[0] not in ("behaviors", "model") and path[-1] != "behaviors":
            by_section.setdefault(path[:-1], []).append((path, value))
    for section in by_section.values():
        for (one, a), (other, b) in itertools.combinations(section, 2):
            if type(a) is type(b) and a != b:
                swapped = put(put(config, one, b), other, a)
                if is_valid(swapped):
                    yield ".".join(one), ".".join(other), swapped


def table(read, config, neighbours=True):
    """By key, the rules that run again."""
    before = read(config)
    found = {}
    for name, tried in changes(config, neighbours).items():
        assert tried, f"no other value of {name} is known here: say one in OTHERS"
        rules = [run_again(before, read(one)) for one in tried]
        found[name] = sorted({rule for one in rules for rule in one})
        if name not in NOTHING:
            assert all(rules), f"a change of {name} is not seen: {rules}"
    return found


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.setattr(yaml, "safe_load", partial(yaml.load, Loader=yaml.CSafeLoader))
    monkeypatch.chdir(ROOT)
    return reader(tmp_path)


@pytest.mark.workflow
@pytest.mark.parametrize("neighbours", mostly_long([False, True], False))
def test_every_key_runs_the_listed_rules_again_and_no_other(read, neighbours):
    found = table(read, default_config(), neighbours)
    assert found == yaml.safe_load(LISTED.read_text()), (
        "python tests/test_reruns.py, if it is meant"
    )
    assert {name for name, rules in found.items() if not rules} == NOTHING


@pytest.mark.long
@pytest.mark.workflow
def test_two_values_that_are_swapped_run_the_rules_of_both_again(read):
    config, listed = default_config(), yaml.safe_load(LISTED.read_text())
    before, tried = read(config), 0
    for one, other, swapped in swaps(config):
        rules = set(run_again(before, read(swapped)))
        expected = set(listed[one]) | set(listed[other])
        assert rules <= expected, (one, other)
        missed = expected - rules
        assert not missed, f"{one} and {other} swapped: not seen by {missed}"
        tried += 1
    assert tried > 20


def main():
    """Write tests/settings.yaml."""
    import os
    import tempfile

    os.chdir(ROOT)
    found = table(reader(Path(tempfile.mkdtemp())), default_config())
    lines = [f"{name}: [{', '.join(rules)}]" for name, rules in found.items()]
    head = "# Per key, the rules that run again when it changes, beside those that record it.\n"
    LISTED.write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
