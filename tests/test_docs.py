"""The documentation knows every key, rule and figure."""

import re

import yaml
from conftest import ROOT


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


def test_every_rule_has_one_script_of_its_name_a_docstring_and_its_own_log():
    rules = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    bodies = re.findall(r"^rule (\w+):\n((?:    .*\n|\n)*)", rules, flags=re.M)
    assert len(bodies) > 10
    for name, body in bodies:
        assert '"""' in body, name
        if "script:" in body:
            assert f"../scripts/{name}.py" in body, name
            for directive in ("log:", "benchmark:", "threads:", "conda:", "mem_mb", "runtime"):
                assert directive in body, (name, directive)
            assert f'code=code_of("{name}")' in body, name


def test_every_figure_is_explained():
    rules = "\n".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    text = (ROOT / "docs/results.md").read_text()
    names = re.findall(r"^rule plot_(\w+):", rules, flags=re.M)
    assert len(names) > 20
    for name in names:
        assert f"**{name}" in text, name
