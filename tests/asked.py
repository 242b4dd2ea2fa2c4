"""Snakemake asked what it knows: every rule of the workflow as it stands for a configuration.

What depends on a rule's wildcards is shown for the first behaviour and contrast.
"""

import json
import subprocess
from pathlib import Path

import yaml
from conftest import ROOT
from warm import launcher

# includes the workflow, and writes its rules as Snakemake has them
DUMP = """
include: {snakefile!r}

import json
from pathlib import Path
from types import SimpleNamespace

WILDCARDS = SimpleNamespace(
    behavior=BEHAVIORS[0],
    contrast=CONTRASTS[0],
    benchmark=next(iter(SETS), ""),
    split="train",
    shard="0",
    shards="1",
    **dict(zip(("source", "file"), next(iter(FETCHED), "results/data//").split("/")[2:])),
)


def plain(value):
    if callable(value):
        return plain(value(WILDCARDS))
    if isinstance(value, SimpleNamespace):
        return plain(vars(value))
    if isinstance(value, dict):
        return {{str(key): plain(below) for key, below in value.items()}}
    if isinstance(value, (list, tuple, set)):
        return [plain(below) for below in value]
    return value if isinstance(value, (int, float, bool, type(None))) else str(value)


Path("rules.json").write_text(
    json.dumps(
        {{
            one.name: {{
                "docstring": one.docstring,
                "message": one.message,
                "script": one.script and str(one.script),
                "input": {{key: plain(value) for key, value in one.input.items()}},
                "output": [str(path) for path in one.output],
                "params": {{key: plain(value) for key, value in one.params.items()}},
                "log": [str(path) for path in one.log],
                "benchmark": one.benchmark and str(one.benchmark),
                "conda": one.conda_env and str(one.conda_env),
                "resources": {{key: str(value) for key, value in one.resources.items()}},
            }}
            for one in workflow.rules
        }}
    )
)
"""


def rules_of(folder: Path, config: dict | None = None, root: Path = ROOT) -> dict[str, dict]:
    """Every rule by its name, asked in `folder`; without a configuration, the default study's."""
    snakefile = folder / "asking.smk"
    snakefile.write_text(DUMP.format(snakefile=str(root / "Snakefile")))
    if config is None:
        config = yaml.safe_load((root / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [launcher(), "-m", "snakemake", "--snakefile", snakefile, "--directory", folder]
    command += ["--list-rules", "--profile", "none", "--workflow-profile", "none"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return json.loads((folder / "rules.json").read_text())
