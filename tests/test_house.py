"""The house: which way imports go, how large things are, what an edit of each module runs again."""

import ast
import re

import pytest
import yaml
from asked import rules_of
from conftest import ROOT

SCRIPTS = ROOT / "scripts"
LIBRARY = SCRIPTS / "steerpaper"
MODULES = sorted(LIBRARY.rglob("*.py"))
SOURCES = sorted(SCRIPTS.rglob("*.py"))
# what each room may import of the library, beside itself and what all share
SHARED = {"errors", "finite", "progress", "reading", "seeds", "shown"}
ROOMS = {
    "engine": {"workflow"},
    "judges": {"engine", "workflow"},
    "steering": {"engine", "judges", "workflow", "stats", "flags"},
    "lookups": {"engine", "judges", "workflow", "stats", "flags", "published"},
    "published": {"stats"},
    "paper": {"workflow", "steering"},
    "plots": {"workflow", "steering"},
    "workflow": set(),
}


def imported(path):
    """Dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room):
    for path in (LIBRARY / room).rglob("*.py"):
        for name in imported(path):
            if match := re.match(r"steerpaper\.(\w+)", name):
                allowed = {room, *ROOMS[room], *SHARED}
                assert match[1] in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_plots_read_tables_and_words_alone_and_nothing_that_needs_torch():
    words = ("steering.conditions", "steering.measures", "steering.labels")
    for path in (LIBRARY / "plots").glob("*.py"):
        for name in imported(path):
            assert name.partition(".")[0] not in ("torch", "transformers", "nnsight"), path
            if name.startswith("steerpaper.steering"):
                assert name.startswith(tuple(f"steerpaper.{word}" for word in words)), path


def test_only_the_job_adapter_knows_of_snakemake():
    users = {
        path.relative_to(LIBRARY).as_posix()
        for path in MODULES
        if re.search(r"\bsnakemake\b", re.sub(r'""".*?"""|#.*', "", path.read_text(), flags=re.S))
    }
    assert users - {"workflow/archive.py", "workflow/runs.py"} <= {"workflow/job.py", "errors.py"}
    assert not any(
        name.partition(".")[0] == "snakemake" for path in MODULES for name in imported(path)
    )


def lines_of_code(node, text):
    """A function's lines without its docstring, comments and blank lines."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    if not body:
        return 0
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    docstring = range(node.body[0].lineno, node.body[0].end_lineno + 1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(lines, node.lineno)
        if not (ast.get_docstring(node) and number in docstring)
    )


BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.FunctionDef)


def depth(node):
    """How deep blocks are nested in a node; an `elif` is as deep as its `if`."""
    deepest = 0
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                chained = (
                    isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If)
                )
                inner = isinstance(child, BLOCKS) and not chained
                deepest = max(deepest, inner + depth(child))
    return deepest


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(SCRIPTS).as_posix())
def test_modules_and_functions_are_small(path):
    text = path.read_text()
    limit = 250 if path.parent.name == "plots" else 400
    assert len(text.splitlines()) <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert lines_of_code(node, text) <= 60, node.name
            assert depth(node) <= 4, node.name


@pytest.mark.workflow
def test_an_edited_module_runs_the_listed_rules_again(tmp_path):
    rules = rules_of(tmp_path)
    reruns = {}
    for path in MODULES:
        users = sorted(
            name
            for name, rule in rules.items()
            if path.relative_to(SCRIPTS).as_posix() in rule["params"].get("code", {})
            and not name.startswith("plot_")
        )
        figures = [
            name
            for name, rule in rules.items()
            if path.relative_to(SCRIPTS).as_posix() in rule["params"].get("code", {})
            and name.startswith("plot_")
        ]
        every = [name for name in rules if name.startswith("plot_")]
        users += ["every plot"] if len(figures) == len(every) else sorted(figures)
        reruns[path.relative_to(LIBRARY).as_posix()] = users
    listed = yaml.safe_load((ROOT / "tests/reruns.yaml").read_text())
    assert reruns == listed, "say so in tests/reruns.yaml if it is meant: " + yaml.safe_dump(reruns)
    gpu = {name for name, rule in rules.items() if "gpu" in rule["resources"]}
    for module, users in reruns.items():
        if (
            module == "stats.py"
            or "tables/" in module
            or module.startswith(("plots/", "workflow/"))
        ):
            assert not gpu & set(users), module


@pytest.mark.workflow
def test_raw_data_is_read_by_the_rules_that_serialize_it_and_by_no_other(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["behaviors"] = {"optimism": config["behaviors"]["optimism"]}
    config["steering"]["behaviors"] = ["optimism"]
    readers = {
        name
        for name, rule in rules_of(tmp_path, config).items()
        for paths in [[*rule["input"].values(), rule["params"].get("beside")]]
        if any("/data/" in str(path) for path in paths)
    }
    serializers = {"prompts", "cost_prompts", "benchmark_prompts", "rating_prompts"}
    # what papers printed
    serializers |= {"lookups_tables", "verdict"}
    records = {"provenance", "archive"}
    assert readers == serializers | records


def leaves(value, path=""):
    """Every value of nested mappings, by dotted key."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else key)
    else:
        yield path, value


def test_the_default_study_shows_the_schema_s_defaults():
    from steerpaper.workflow.config import validated

    shown = yaml.safe_load((ROOT / "config.yaml").read_text())
    required = ("study", "seed", "model", "behaviors")
    behaviors = shown["steering"]["behaviors"]
    least = {key: shown[key] for key in required} | {"steering": {"behaviors": behaviors}}
    defaults = dict(leaves(validated(least, ROOT / "config.schema.yaml")))
    assert defaults == dict(leaves(shown))


def test_a_part_of_a_section_keeps_the_section_s_other_defaults():
    from steerpaper.workflow.config import validated

    shown = yaml.safe_load((ROOT / "config.yaml").read_text())
    shown["steering"]["dose_response"] = {"random": {"multipliers": [-3, 3]}}
    config = validated(shown, ROOT / "config.schema.yaml")
    assert config["steering"]["dose_response"]["random"] == {
        "directions": 20,
        "multipliers": [-3, 3],
    }
