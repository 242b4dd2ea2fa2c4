"""From a figure or a number back to the raw lines, the model, the code, the settings and the seed.

    python -m steerpaper trace figures/default/layer_sweep.png

follows the records that every job leaves (`records.py`), and checks every digest on the way.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError
from steerpaper.workflow.code import code_digest
from steerpaper.workflow.data import content
from steerpaper.workflow.files import iter_jsonl, read_json, sha256
from steerpaper.workflow.records import Record, record_of, settings_digest
from steerpaper.workflow.sources import FOLDER, MANIFEST

# a results file, its record, and how far it is from what was asked for
Step = tuple[str, Record | None, int]


def chain(study: Path, paths: Sequence[str]) -> Iterator[Step]:
    """What files were made from, each once, what was asked for first."""
    seen: set[str] = set()
    todo = [(path, 0) for path in reversed(paths)]
    while todo:
        path, depth = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        record = record_of(study, path)
        yield path, record, depth
        if record is not None:
            todo += [(read, depth + 1) for read in reversed(list(record["inputs"]))]


def refuse_stale(study: Path, paths: Sequence[str], made: Mapping[str, str]) -> None:
    """Refuse results that do not fit together, or that the configuration did not make.

    Args:
        paths: what was made last: tables and figures.
        made: digests of the configuration's settings, by rule.

    Raises:
        UserError: names the file, and what it does not fit.
    """
    # whatever a record names as read is in the chain too
    records = {path: record for path, record, _ in chain(study, paths) if record is not None}
    for path, record in records.items():
        rule = record["rule"]
        if rule in made and settings_digest(record["settings"]) != made[rule]:
            raise UserError(
                f"{path}: was made by rule {rule} under other settings than the configuration's; "
                "remove the file and run again, or take the old configuration"
            )
        for read, held in record["inputs"].items():
            if read in records and records[read]["digest"] != held:
                raise UserError(
                    f"{path}: was made from another {read} than the one that is there; "
                    "remove the file and run again"
                )


def refuse_other_model(manifest: Path) -> None:
    """Refuse a model whose files are not those that were fetched.

    Raises:
        UserError: names the file.
    """
    for name, held in read_json(manifest)["files"].items():
        path = manifest.parent / name
        if not path.exists() or sha256(path) != held:
            raise UserError(
                f"{path}: is not the file that was fetched (it was damaged or changed since), and "
                f"results may have been made with it; remove {manifest.parent} and run again"
            )


def fetched_data(study: Path, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Where the raw data that results were made from was fetched: each file's manifest.

    The time is left out: the same data has the same provenance.

    Args:
        paths: what was made last: tables and figures.

    Raises:
        UserError: a file is not as it was fetched.
    """
    found = {}
    for path in sorted({path for path, _, _ in chain(study, paths)}):
        if not re.search(rf"(^|/){FOLDER}/", path) or path.endswith(MANIFEST):
            continue
        said = read_json(f"{path}{MANIFEST}")
        if sha256(path) != said["sha256"]:
            raise UserError(
                f"{path}: is not the file that was fetched (it was damaged or changed since), and "
                "results may have been made with it; remove it and run again"
            )
        found[path] = {key: said[key] for key in ("source", "licence", "sha256", "bytes")}
    return found


def find(asked: str) -> tuple[Path, str]:
    """The study and the path of what is asked for: a file, or a figure's or table's name.

    Raises:
        UserError: no job left a record of it.
    """
    records = Path("results").glob("*/records")
    for folder in sorted(records):
        study = folder.parent
        for path in (
            asked,
            f"{study}/{asked}",
            f"{study}/tables/{asked}.csv",
            f"figures/{study.name}/{asked}.png",
        ):
            if record_of(study, path) is not None:
                return study, path
    raise UserError(
        f"{asked}: no record of what made it under results/*/records; name a file of results/ or "
        "figures/, or a figure or table by its name, from the folder that you run snakemake in"
    )


def traced(asked: str, workflow: Path) -> tuple[list[str], bool]:
    """What is printed of a file, line by line, and whether every digest is as recorded.

    Args:
        workflow: the folder of the workflow's own files.
    """
    study, target = find(asked)
    lines, sound, models, prompts = [], True, [], []
    versions: dict[str, str] = {}
    rules: dict[str, Record] = {}
    for path, record, depth in chain(study, [target]):
        place = next((one for one in (Path(path), workflow / path) if one.exists()), None)
        found = sha256(place) if place else None
        models += [path] if Path(path).name == "manifest.json" else []
        if record is None:
            lines.append(f"{'  ' * depth}{path}  {_raw(found)}")
            continue
        is_same = found == record["digest"]
        sound &= is_same
        state = "as its job wrote it" if is_same else "NOT as its job wrote it"
        if found is None:
            state = "not there any more"
        lines.append(f"{'  ' * depth}{path}  {record['digest'][:12]} {state}")
        lines.append(f"{'  ' * depth}  by {record['rule']}{_of(record['wildcards'])}")
        rules.setdefault(record["rule"], record)
        versions |= record["versions"]
        prompts += [path] if "/prompts/" in path and path.endswith(".jsonl") else []
    lines += ["", "Settings"]
    lines += [f"  {rule}: {json.dumps(one['settings'])}" for rule, one in rules.items()]
    code = {module: held for one in rules.values() for module, held in one["code"].items()}
    lines += ["", "Code", *_code(code, workflow)]
    lines += ["", "Raw lines", *_raw_lines(prompts)]
    model = [line for path in models for line in _model(path)]
    sound &= not any("NOT as it was fetched" in line for line in model)
    lines += ["", "Model", *model]
    lines += ["", "Versions", *(f"  {name} {version}" for name, version in versions.items())]
    return lines, sound


def _raw(found: str | None) -> str:
    return f"{found[:12]} (raw)" if found else "not found on this machine"


def _of(wildcards: Mapping[str, str]) -> str:
    return f" ({', '.join(wildcards.values())})" if wildcards else ""


def _code(code: Mapping[str, str], workflow: Path) -> Iterator[str]:
    """Every module, and whether it does today what it did."""
    for module, held in sorted(code.items()):
        path = workflow / "scripts" / module
        # what is no code is named from the workflow's folder
        now = code_digest(path) if path.exists() else content(workflow / module)
        yield f"  {module}  {held}{'' if now == held else '  (has changed since)'}"


def _raw_lines(prompts: Sequence[str]) -> Iterator[str]:
    """Which lines of the raw data a study's prompts are from."""
    found: dict[str, set[int]] = {}
    for path in prompts:
        for row in iter_jsonl(path) if Path(path).exists() else ():
            match = re.fullmatch(r"(.*), (?:line|item) (\d+)", str(row.get("source", "")))
            if match:
                found.setdefault(match[1], set()).add(int(match[2]))
    for file, numbers in sorted(found.items()):
        yield f"  {file}: {ranges(numbers)}"


def ranges(numbers: set[int]) -> str:
    """Numbers in few words: 1-3, 5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _model(path: str) -> Iterator[str]:
    if not Path(path).exists():
        return
    manifest: dict[str, Any] = read_json(path)
    files = manifest.pop("files", {})
    for key, value in manifest.items():
        yield f"  {key}: {value}"
    for name, held in files.items():
        place = Path(path).parent / name
        is_same = place.exists() and sha256(place) == held
        yield f"  {name}  {held[:12]} {'as it was fetched' if is_same else 'NOT as it was fetched'}"
