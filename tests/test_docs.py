"""The documentation knows every key, rule and figure; rules are what they are said to be."""

import re
from pathlib import Path

import pytest
import yaml
from asked import rules_of
from conftest import ROOT

from steerpaper.workflow.declared import csv_names, rows_of

SCRIPTS = ROOT / "scripts"


def keys(schema, root, path=""):
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    for name, rule in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from keys(rule, root, f"{path}{name}.")


def test_every_configuration_key_is_documented_and_commented():
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())
    text = (ROOT / "docs/configuration.md").read_text()
    documented = set(re.findall(r"`([a-z_.]+)`", text))
    for key in keys(schema, schema):
        parts = key.split(".")
        # a documented map documents what it holds
        known = any(".".join(parts[:n]) in documented for n in range(1, len(parts) + 1))
        has_children = any(other.startswith(key + ".") for other in keys(schema, schema))
        assert known or has_children or parts[0] == "behaviors", key


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """Every rule of the default study, as Snakemake has it, by name."""
    return rules_of(tmp_path_factory.mktemp("rules"))


def test_every_rule_says_what_it_does_and_has_its_own_log_and_benchmark(rules):
    for name, rule in rules.items():
        # rules that are made in a loop have a message instead
        assert rule["docstring"] or rule["message"], name
        if not rule["script"]:
            continue
        assert rule["message"], name
        assert [part for path in rule["log"] for part in Path(path).parts if name in part] or (
            f"figures/{name.removeprefix('plot_')}" in rule["log"][0]
        ), name
        assert f"/{name}" in rule["benchmark"], name
        assert rule["conda"], name
        assert {"mem_mb", "runtime"} <= rule["resources"].keys(), name
    for kind in ("log", "benchmark"):
        paths = [str(rule[kind]) for rule in rules.values() if rule[kind]]
        assert len(set(paths)) == len(paths)


def test_a_script_has_its_rules_name_or_is_named_by_rows(rules):
    of_rows = {"table", "figure"}
    for name, rule in rules.items():
        if rule["script"]:
            assert Path(rule["script"]).stem in {name, *of_rows}, name
    used = {Path(rule["script"]).stem for rule in rules.values() if rule["script"]}
    library = SCRIPTS / "steerpaper"
    scripts = [path for path in SCRIPTS.rglob("*.py") if library not in path.parents]
    assert used == {path.stem for path in scripts}


def test_settings_are_one_mapping_and_code_is_an_input(rules):
    for name, rule in rules.items():
        if rule["script"]:
            # Snakemake compares params by value, without their names
            assert list(rule["params"]) in ([], ["settings"]), name
            assert rule["input"]["code"] or name == "model", name


def test_every_figure_and_table_is_explained(rules):
    text = (ROOT / "docs/results.md").read_text()
    figures, tables = (rows_of(ROOT / f"report/{name}.yaml") for name in ("figures", "tables"))
    assert {f"plot_{name}" for name in figures} == {
        name for name in rules if name.startswith("plot_")
    }
    assert {name for name, row in tables.items() if "make" in row} <= set(rules)
    for name in figures:
        assert f"**{name}" in text, name
    for name in csv_names(tables):
        name = "lookups_*" if name.startswith("lookups_") else name
        assert f"`{name}.csv`" in text, name
