"""Raw data from elsewhere: an address, a file of a repository, a data set on the hub.

A source is what a configuration says in the place of a path: `{url, sha256}`,
`{github: {repo, commit, path, sha256}}` or `{hub: {id, revision, file}}`, or of a hub data set
whose rows are wanted `{hub: {id, revision, split, columns}}`. Each becomes one file under
results/data/, fetched once, beside a manifest that says where it came from.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from steerpaper.workflow.places import data_sources

Where = Mapping[str, Any]

FOLDER = "results/data"
MANIFEST = ".manifest.json"  # behind the file's own name


def kind_of(source: Any) -> str:
    """`path`, `url`, `github` or `hub`."""
    if isinstance(source, str):
        return "path"
    return next(kind for kind in ("path", "url", "github", "hub") if kind in source)


def check_sources(config: dict[str, Any]) -> list[str]:
    """What is wrong with the sources of a configuration, and `{path: …}` written as the path alone.

    Returns:
        a sentence for each problem, which begins with the key.
    """
    problems = []
    for name, behavior in config["behaviors"].items():
        if ("items" in behavior) == ("splits" in behavior):
            problems.append(
                f"behaviors.{name}: has {'both' if 'items' in behavior else 'neither'} items (one "
                f"file, dealt into train, dev and test) {'and' if 'items' in behavior else 'nor'} "
                "splits (a file for each); give one of them"
            )
    for name, one in config["steering"].get("benchmarks", {}).get("sets", {}).items():
        if one and ("file" in one) == ("files" in one):
            problems.append(
                f"steering.benchmarks.sets.{name}: has {'both' if 'file' in one else 'neither'} "
                f"file (one of all questions) {'and' if 'file' in one else 'nor'} files (one for "
                "each category); give one of them"
            )
    for key, place, name in data_sources(config):
        source = place[name]
        if isinstance(source, str):
            continue
        problems += [f"{key}{problem}" for problem in _problems(source)]
        if set(source) == {"path"}:
            place[name] = source["path"]
    return problems


def _problems(source: Where) -> Iterator[str]:
    kinds = [kind for kind in ("path", "url", "github", "hub") if kind in source]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        yield f": expected one of path, url, github and hub, found {found}"
    elif kinds == ["url"] and "sha256" not in source:
        yield ".sha256: is missing; a file from an address is pinned by its SHA-256 digest"
    elif kinds == ["hub"]:
        hub = source["hub"]
        if ("file" in hub) == ("split" in hub):
            yield ".hub: expected either file, or split with columns"
        elif ("split" in hub) != ("columns" in hub):
            yield ".hub: columns say which of a split's columns are wanted; give both, or file"


def digest(source: Where) -> str:
    """Sixteen hex digits that stand for what is fetched; a licence or a note changes nothing."""
    told = {key: value for key, value in source.items() if key != "licence"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def named_model(model: Where) -> dict[str, str]:
    """The study's model: as texts name it, and its id and revision on the hub, "" from elsewhere.

    Args:
        model: the section of the configuration.
    """
    if model["source"] == "hub":
        hub = model["hub"]
        return {"model": hub["id"], "id": hub["id"], "revision": hub["revision"]}
    if model["source"] == "gguf" and "id" in model["gguf"]:
        hub = model["gguf"]
        name = f"{hub['id']}, {hub['file']}"
        return {"model": name, "id": hub["id"], "revision": hub["revision"]}
    place = "a GGUF file" if model["source"] == "gguf" else "a folder"
    if model["source"] == "wheel":
        place = f"{model['wheel']['package']} {model['wheel']['version']}"
    return {"model": f"{model['name']} ({place})", "id": "", "revision": ""}


def file_name(source: Where) -> str:
    """What the fetched file is called: as it is called there, rows as JSON Lines by their split."""
    kind = kind_of(source)
    if kind == "url":
        path = unquote(urlsplit(source["url"]).path)
    elif kind == "hub" and "file" not in source["hub"]:
        path = f"{source['hub']['split']}.jsonl"
    else:
        path = source[kind]["path" if kind == "github" else "file"]
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(path).name)
    return name.lstrip(".") or "data"


def texts_of(corpus: Where) -> tuple[Any, str]:
    """The source of a corpus's texts and the column that holds them; no source for the library's.

    Args:
        corpus: the section lookups.corpus.
    """
    if corpus["source"] == "file":
        return corpus["file"]["path"], corpus["file"]["column"]
    if corpus["source"] == "hub":
        column = corpus["hub"]["column"]
        where = {key: corpus["hub"][key] for key in ("id", "revision", "split")}
        return {"hub": {**where, "columns": {column: column}}}, column
    return "", ""


def to_fetch(config: dict[str, Any]) -> dict[str, tuple[str, Where]]:
    """Every source of a configuration that is fetched, by where its file will lie: key, source."""
    found = {
        fetched(place[name]): (key, place[name])
        for key, place, name in data_sources(config)
        if not isinstance(place[name], str)
    }
    texts, _ = texts_of(config["lookups"]["corpus"])
    if isinstance(texts, dict):
        found.setdefault(fetched(texts), ("lookups.corpus", texts))
    return found


def fetched(source: Where) -> str:
    """Where a source's file lies once it is fetched: results/data/<digest>/<name>."""
    return f"{FOLDER}/{digest(source)}/{file_name(source)}"


def said(source: Where) -> str:
    """A source for people, in a few words."""
    kind = kind_of(source)
    if kind == "url":
        return str(source["url"])
    where = source[kind]
    if kind == "github":
        return f"{where['repo']}@{where['commit'][:7]}: {where['path']}"
    return f"{where['id']}@{where['revision'][:7]}: {where.get('file') or where['split']}"
