"""This machine in what others may read: its folders, name and secrets, and how they are removed."""

import copy
import json
import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

Config = dict[str, Any]

# the keys that hold a source of raw data
SOURCES = (
    *("items", "train", "dev", "test", "about", "open", "rating"),
    *("neutral", "knowledge", "file", "path"),
)
WORKFLOW = Path(__file__).resolve().parents[3]
# environment variables whose values are nobody else's business
SECRET = re.compile("KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
SHORTEST = 8  # a shorter value stands in texts that are no secret
_PART = r"[^/\s\"'<>|:,;()\[\]`\\]"
# a folder and what is in it; not an address's path, not a fraction
ABSOLUTE = re.compile(
    rf"(?:(?<=file:)//|(?<=\s-[A-Za-z])|(?<![\w./~>-]))/(?!/){_PART}+(?:/{_PART}*)+"
    rf"|(?<![\w/])~(?:[A-Za-z_][\w.-]*)?(?:/{_PART}*)+"
)
_NAME = r"[^\\/:*?\"<>|\r\n]"
# folders may hold spaces: a file's name ends at one
WINDOWS = re.compile(
    rf"(?:(?<!\w)[A-Za-z]:|(?<![\w\\])\\\\{_NAME}+?)[\\/]+(?:{_NAME}+\\+|[^\\/:*?\"<>|\s]+/)*"
    r"[^\\/:*?\"<>|\s,;)\]']*"
)
# where a known folder's name begins and ends; none of both in base64
_BEFORE, _AFTER = r"(?<![\w./~+-])", r"(?![\w-]|\.\w)"
HOST = re.compile(r"\b((?:host|hostname|nodename)[\"']?\s*[=:]\s*[\"']?)[\w.-]+", re.IGNORECASE)


def data_sources(config: Config) -> Iterator[tuple[str, Config, str]]:
    """Every source of raw data that a configuration names: dotted key, and where it is held."""
    places = {}
    for name, behavior in config["behaviors"].items():
        places[f"behaviors.{name}"] = behavior
        places[f"behaviors.{name}.splits"] = behavior.get("splits", {})
    places["steering.cost"] = config["steering"]["cost"]
    benchmarks = config["steering"].get("benchmarks", {}).get("sets", {})
    for name, one in benchmarks.items():
        places[f"steering.benchmarks.sets.{name}"] = one or {}
    places["lookups.corpus.file"] = config["lookups"]["corpus"].get("file", {})
    for name, place in places.items():
        for key in SOURCES:
            if key in place:
                yield f"{name}.{key}", place, key
        for key in place.get("files", {}):
            yield f"{name}.files.{key}", place["files"], key


def data_files(config: Config) -> Iterator[tuple[str, Config, str]]:
    """The files of this machine that a configuration names by path: its raw data (of `data_sources`
    the others are fetched), its chat template, papers of its own and its manuscript. Dotted key,
    and where the path is held.
    """
    for name, place, key in data_sources(config):
        if isinstance(place[key], str):
            yield name, place, key
    if config["model"].get("chat_template"):
        yield "model.chat_template", config["model"], "chat_template"
    for name, paper in config["verdict"]["published"].items():
        for key in ("numbers", "about"):
            yield f"verdict.published.{name}.{key}", paper, key
    if config.get("paper"):
        yield "paper", config, "paper"


def model_files(config: Config) -> Iterator[tuple[str, Config, str]]:
    """What of this machine the model is taken from, a folder or a file: as `data_files` has it."""
    model = config["model"]
    if "path" in model:
        yield "model.path", model, "path"
    if "path" in model.get("gguf", {}):
        yield "model.gguf.path", model["gguf"], "path"


def named(path: str | Path) -> str:
    """A file as results name it: from the study's or the workflow's folder, else its name alone.

    A path that is relative already stays as it was written.
    """
    inside = _inside(path)
    return Path(path).name if inside is None else inside


def data_names(config: Config) -> dict[str, str]:
    """What results call the raw data that a configuration names, by its path there.

    A file outside both folders gets the name that it has in an archive, after its key.
    """
    names = {}
    for key, place, entry in data_files(config):
        path = place[entry]
        inside = _inside(path)
        names[path] = f"data/{key}{Path(path).suffix}" if inside is None else inside
    return names


def portable(config: Config) -> Config:
    """A configuration that names no folder of this machine: data by `data_names`, a model's folder
    outside the study by its last part.
    """
    shown: Config = copy.deepcopy(config)
    names = data_names(config)
    for _, place, key in data_files(shown):
        place[key] = names[place[key]]
    for _, place, key in model_files(shown):
        place[key] = named(place[key])
    return shown


def model_names(config: Config) -> dict[str, str]:
    """What results call the folder or file that a model comes from, by its path, if it has one."""
    return {place[key]: named(place[key]) for _, place, key in model_files(config)}


def _inside(path: str | Path) -> str | None:
    """A path relative to the study's or the workflow's folder; None where it is in neither."""
    where = Path(path)
    if not where.is_absolute():
        return str(path)
    # links above the file are followed, it may itself be one into another folder
    where = where.parent.resolve() / where.name
    for folder in (Path.cwd().resolve(), WORKFLOW):
        if where.is_relative_to(folder):
            return str(where.relative_to(folder))
    return None


def machine(*folders: Path) -> list[str]:
    """Folders of this machine that texts may name, the inner ones first.

    Args:
        folders: the study's, the workflow's, others that are known; the user's home and Python's
            own are known.
    """
    known = {*map(Path, folders), Path.home(), Path(sys.prefix)}
    known |= {folder.absolute() for folder in known} | {folder.resolve() for folder in known}
    found = {os.path.normpath(folder) for folder in known if folder.is_absolute()}
    return sorted(found - {"/"}, key=lambda folder: (-len(folder), folder))


def secrets(environment: Mapping[str, str], *configured: str | None) -> dict[str, str]:
    """The environment variables that look like secrets, with their values.

    Args:
        configured: variables that the configuration names for keys, whatever they are called.
    """
    return {
        name: value
        for name, value in environment.items()
        if (SECRET.search(name) or name in configured) and len(value) >= SHORTEST
    }


def without_secrets(text: str, secrets: Mapping[str, str]) -> str:
    """A text with the variable's name in the place of each secret."""
    # of two secrets, one may hold the other
    for name, value in sorted(secrets.items(), key=lambda entry: -len(entry[1])):
        text = text.replace(value, f"<{name}>")
    return text


def without_folders(text: str, folders: Iterable[str], names: Mapping[str, str]) -> str:
    """A page's text in which paths in these folders are relative, and the folders are "...".

    What holds images as text (base64) has no place that this would take for a path.

    Args:
        names: what other absolute paths are called.
    """
    known = {path: name for path, name in names.items() if Path(path).is_absolute()}
    for path, name in sorted(known.items(), key=lambda entry: -len(entry[0])):
        for written in _written(path):
            text = re.sub(rf"{_BEFORE}{re.escape(written)}{_AFTER}", name, text)
    for folder in folders:
        for written in _written(folder):
            text = re.sub(rf"{_BEFORE}{re.escape(written)}/(?=\w)", "", text)
            text = re.sub(rf"{_BEFORE}{re.escape(written)}{_AFTER}", "...", text)
    return text


def _written(path: str) -> set[str]:
    """A path as text, as JSON and as HTML have it."""
    return {path, json.dumps(path)[1:-1], json.dumps(path, ensure_ascii=False)[1:-1], escape(path)}


def cleaned(text: str, folders: Iterable[str], secrets: Mapping[str, str]) -> str:
    """A record's text without secrets and hosts, and of absolute paths no more than a file's name.

    `folders` are known ones, whose names may hold spaces, where a path in a text seems to end.
    """
    text = without_secrets(text, secrets)
    for folder in folders:
        text = re.sub(rf"{re.escape(folder)}/", "/-/", text)
        text = re.sub(rf"{re.escape(folder)}{_AFTER}", "...", text)

    def file_name(found: re.Match[str]) -> str:
        path = Path(found[0].replace("\\", "/"))
        return f".../{path.name}" if path.suffix else "..."

    text = ABSOLUTE.sub(file_name, WINDOWS.sub(file_name, text))
    return without_host(HOST.sub(r"\1...", text))


def without_host(text: str) -> str:
    """A text without this machine's name; one of few letters is a word like others."""
    name = socket.gethostname()
    return re.sub(rf"\b{re.escape(name)}\b", "...", text) if len(name) >= 4 else text
