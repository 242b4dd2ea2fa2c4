"""Running the real workflow on a tiny study in a folder of its own."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import ROOT
from warm import launcher

BEHAVIOR = ROOT / "data/behaviors/sociability.jsonl"
TINY = {
    "study": "tiny",
    "seed": 1,
    "threads": 1,
    "batch_tokens": 512,
    "behaviors": {
        "one": {"items": "one.jsonl", "about": "one.yaml"},
        "two": {"items": "two.json"},
    },
    "steering": {
        "behaviors": ["one", "two"],
        "prompts": {"split": {"train": 6, "dev": 4, "test": 6}},
        "sweep": {"layers": "all", "multipliers": [-1, 1]},
        "dose_response": {
            "multipliers": [-1, 1],
            "random": {"directions": 2},
            "shuffled": {"directions": 2},
        },
        "completions": {"questions": 1, "multipliers": [0, 1], "samples": 1, "max_new_tokens": 4},
    },
    "lookups": {
        "corpus": {"train": 60, "test": 60, "max_tokens": 24},
        "layers": {"last": 2},
        "neurons": {"next_token": 2, "random": 1},
        "top": 3,
        "explanations": {"max_new_tokens": 4},
    },
    "statistics": {"resamples": 200},
    "figures": {"layers": [0, 2]},
}
# the parts of the steering study that run on some behaviours, small
SMALL = {
    "reasoning": {"prompts": 2, "samples": 1, "max_new_tokens": 3},
    "system_prompts": {"prompts": 3},
    "cost": {"texts": 4, "questions": 4, "multipliers": [-1, 1]},
    "benchmarks": {
        "sets": {"knowledge": {"file": "data/knowledge.jsonl", "form": "own", "questions": 4}},
        "random": {"directions": 1, "multipliers": [1]},
    },
    "convergence": {"sizes": [1, 2, 4], "draws": 5, "compare": {"vectors": 2, "items": 2}},
    "projection": {"texts": 1},
    "fixed_completions": {"prompts": 2, "samples": 5, "max_new_tokens": 3},
    "compare_estimators": {"prompts": 3},
    "transfer": {"prompts": 2, "layers": {"every": 2}},
    "prompt_kinds": {"prompts": 2, "train": 4, "multipliers": [-1, 1]},
}


def make_study(folder: Path, model: Path, *, parts: bool = False) -> dict:
    """Write a tiny study's data: one behaviour in our format, one in the published format.

    `parts` says whether the parts that run on some behaviours run, on the first.
    """
    items = [json.loads(line) for line in BEHAVIOR.read_text().splitlines()[:40]]
    (folder / "one.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items[:16]))
    (folder / "one.yaml").write_text(
        "open_questions:\n- What will you do tonight?\n"
        "markers: {matching: [friend, e], other: [alone, a]}\n"
        "system_prompts: {for: Seek company., against: Avoid company.}\n"
    )
    published = [
        {
            "question": f"{item['question']}\n\nChoices:\n"
            f" (A) {item['other']}\n (B) {item['matching']}",
            "answer_matching_behavior": " (B)",
            "answer_not_matching_behavior": "(A)",
        }
        for item in items[16:34]
    ]
    (folder / "two.json").write_text(json.dumps(published))
    config = copy.deepcopy(TINY)
    for name, part in SMALL.items():
        config["steering"][name] = {**part, "behaviors": int(parts)}
    config["model"] = {"name": "tiny", "source": "path", "path": str(model)}
    return config


def command(
    folder: Path, *arguments: str, cores: int = 1, root: Path = ROOT, warm: bool = False
) -> list[str]:
    """What a user types: the workflow in `root` on the study in `folder`.

    Args:
        warm: processes are forked from ones that have imported already (`warm.py`).
    """
    typed = [
        launcher() if warm else sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        root / "Snakefile",
    ]
    # targets first: --resources would take them for its own values
    typed += [*arguments, "--directory", folder, "--cores", cores, "--resources", f"gpu={cores}"]
    return list(map(str, typed))


def snakemake(
    folder: Path, config: dict | None, *arguments: str, cores: int = 1, root: Path = ROOT, **options
):
    """Run the workflow in `folder` with a configuration; returns the finished process.

    Who gives options of `subprocess.run` wants processes of their own.
    """
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    typed = command(folder, *arguments, cores=cores, root=root, warm=not options)
    return subprocess.run(typed, capture_output=True, text=True, env=environment, **options)


def planned(folder: Path, config: dict | None, *arguments: str, root: Path = ROOT) -> set[str]:
    """The rules that a dry run would run."""
    process = snakemake(folder, config, "--dry-run", *arguments, root=root)
    assert process.returncode == 0, process.stderr
    _, _, stats = (process.stdout + process.stderr).partition("Job stats:")
    rows = [line.split() for line in stats.partition("total")[0].splitlines()[3:]]
    return {row[0] for row in rows if row}


def copy_of_tree(folder: Path) -> Path:
    """A copy of the workflow's tree, without its tests and results."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def unfilled(caption: str) -> set[str]:
    """What shows that a caption was not filled in well."""
    traces = {"system-message", "None", "Undefined", "nan", "{{", "{%"}
    return traces & set(re.findall(r"[\w-]+|{{|{%", caption))


def tables(folder: Path) -> dict[str, bytes]:
    """Every table and figure's data of a finished study, by name."""
    found = [*(folder / "results/tiny").rglob("*.csv"), *(folder / "results/tiny").rglob("*.md")]
    found += [*(folder / "results/tiny").rglob("*.parquet"), *(folder / "figures").rglob("*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.is_file()}
