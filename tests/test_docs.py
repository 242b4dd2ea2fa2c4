"""The documentation knows every key, rule and figure; rules are what they are said to be."""

import re
from pathlib import Path

import pytest
import yaml
from asked import rules_of
from conftest import ROOT

from steerpaper.workflow.code import imported_modules, is_helper
from steerpaper.workflow.declared import csv_names, rows_of

SCRIPTS = ROOT / "scripts"
LIBRARY = SCRIPTS / "steerpaper"
FIGURES, TABLES = (rows_of(ROOT / f"report/{name}.yaml") for name in ("figures", "tables"))
# scripts that run what rows name
OF_ROWS = {"figure", "table"}


def keys(schema, root, path=""):
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    for name, rule in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from keys(rule, root, f"{path}{name}.")


def test_every_configuration_key_is_documented_and_commented():
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())
    text = (ROOT / "docs/configuration.md").read_text()
    documented = set(re.findall(r"`([a-z0-9_.]+)`", text))
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
        # rules that are made in a loop have their rows' messages instead
        assert rule["docstring"] or Path(rule["script"] or "").stem in OF_ROWS, name
        if not rule["script"]:
            continue
        assert rule["message"], name
        log = f"figures/{name.removeprefix('plot_')}" if name.startswith("plot_") else name
        for kind, place in (("log", log), ("benchmark", name)):
            (path,) = rule[kind] if kind == "log" else [rule[kind]]
            assert re.match(rf"results/default/{kind}s/{place}[./]", path), name
        assert rule["conda"], name
        assert {"mem_mb", "runtime"} <= rule["resources"].keys(), name


def test_a_script_has_its_rules_name_or_draws_and_sums_up_what_rows_say(rules):
    named = {f"plot_{name}": "figure" for name in FIGURES}
    named |= {name: "table" for name, row in TABLES.items() if "make" in row}
    assert named.keys() <= rules.keys()
    scripted = {name: Path(rule["script"]) for name, rule in rules.items() if rule["script"]}
    assert {name: path.stem for name, path in scripted.items()} == {
        name: named.get(name, name) for name in scripted
    }
    scripts = {path for path in SCRIPTS.rglob("*.py") if LIBRARY not in path.parents}
    # what rules for several behaviours run: the default study has none
    several = {SCRIPTS / "chunk.py"}
    assert {(ROOT / "rules" / path).resolve() for path in scripted.values()} == scripts - several


def test_settings_are_one_mapping_and_code_is_another(rules):
    for name, rule in rules.items():
        if rule["script"]:
            # Snakemake compares params by value, without their names
            assert list(rule["params"])[:2] == ["settings", "code"], name
            assert set(rule["params"]) <= {"settings", "code", "made", "beside", "how"}, name
            assert isinstance(rule["params"]["settings"], dict | str), name
            imported = imported_modules((ROOT / "rules" / rule["script"]).resolve(), SCRIPTS)
            code = {path for path in imported if not is_helper(path.relative_to(LIBRARY))}
            names = {path.relative_to(SCRIPTS).as_posix() for path in code}
            script = (ROOT / "rules" / rule["script"]).resolve().relative_to(SCRIPTS)
            if name != "engine":  # whose code is that which all jobs share (rules/common.smk)
                assert {*names, script.as_posix()} <= set(rule["params"]["code"]), name


def test_every_figure_and_table_is_made_and_explained(rules):
    text = (ROOT / "docs/results.md").read_text()
    assert {name for name in rules if name.startswith("plot_")} == {f"plot_{n}" for n in FIGURES}
    assert {path.stem for path in (ROOT / "report/captions").glob("*.rst")} == FIGURES.keys()
    assert len({row["title"] for row in FIGURES.values()}) == len(FIGURES)
    for name in FIGURES:
        assert f"**{name}" in text, name
    made = [Path(path) for rule in rules.values() for path in rule["output"]]
    tables = [path.stem for path in made if path.parent.name == "tables" and path.suffix == ".csv"]
    assert sorted(tables) == sorted(csv_names(TABLES))
    for name in tables:
        name = "lookups_*" if name.startswith("lookups_") else name
        assert f"`{name}.csv`" in text, name
