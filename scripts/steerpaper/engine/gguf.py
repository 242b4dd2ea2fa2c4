"""A model out of a GGUF file: checked, and converted once to plain weights and a tokenizer.

Whatever its quantization, the numbers become float32: what follows is a model like any other.
"""

import os
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from steerpaper.engine.folder import reading, told
from steerpaper.engine.pretrained import refuse_misfits
from steerpaper.errors import UserError
from steerpaper.workflow.fetching import hub_snapshot
from steerpaper.workflow.files import sha256

MAGIC = b"GGUF"
KEY = "model.gguf"
# what rotary frequencies are divided by, one number each: transformers leaves it out
DIVISORS = "rope_freqs.weight"


def from_gguf(part: Path, where: Mapping[str, str]) -> dict[str, Any]:
    """Fill `part` with the model that a GGUF file holds, and say where it came from.

    Args:
        where: path (of this machine), or id, revision, file (of the hub).

    Raises:
        UserError: names the key of the configuration, and what is wrong there.
    """
    if "path" in where:
        file = Path(where["path"])
        if not file.is_file():
            raise UserError(f"{KEY}.path: no file at {file}")
        origin, said = {"revision": f"file {file.name}"}, f"{KEY}.path: {file}"
    else:
        folder = hub_snapshot(where, [where["file"]], key=KEY, repo_type="model")
        file = folder / where["file"]
        if not file.is_file():
            raise UserError(f"{KEY}.file: {where['id']} has no file {where['file']}")
        origin, said = (
            {"id": where["id"], "revision": where["revision"]},
            f"{KEY}.file: {file.name}",
        )
    check_gguf(file, said)
    with reading(f"{said}: cannot be converted"):
        convert_gguf(file, part)
    return {**origin, "gguf": file.name, "gguf_sha256": sha256(file)}


def check_gguf(file: Path, said: str) -> None:
    """Check what a GGUF file says of itself, before its numbers are read.

    Args:
        said: what messages call the file.

    Raises:
        UserError: no GGUF file, not whole, a part of one, or a model, numbers or a vocabulary that
            cannot be read.
    """
    import gguf

    with reading(f"{said}: cannot be read"), file.open("rb") as content:
        begins = content.read(len(MAGIC))
    if begins != MAGIC:
        raise UserError(
            f"{said}: is no GGUF file: it begins with {begins!r}, not {MAGIC!r}"
            + ("; this is a Git LFS pointer: fetch the file itself" if begins == b"vers" else "")
        )
    try:
        reader = gguf.GGUFReader(file)
    except Exception as error:  # whatever a parser raises at bytes that came as data
        raise UserError(
            f"{said}: cannot be read as GGUF ({told(error)}): it is damaged, or not whole; fetch "
            "or copy it again"
        ) from error
    with reading(f"{said}: what it says of itself cannot be read"):
        fields = {
            key: field.contents()
            for key in reader.fields
            if key in ("general.type", "general.architecture", "split.count")
            or key.endswith(".rope.scaling.type")
            if (field := reader.get_field(key)) is not None
        }
    _check_kind(fields, said)
    _check_positions(fields, {tensor.name for tensor in reader.tensors}, said)
    lacking = [
        key for key in ("model", "tokens") if reader.get_field(f"tokenizer.ggml.{key}") is None
    ]
    if lacking:
        raise UserError(
            f"{said}: has no tokenizer (tokenizer.ggml.{lacking[0]}); take a file that was made "
            "with its vocabulary"
        )
    for kind, tensor in {one.tensor_type: one for one in reader.tensors}.items():
        try:
            gguf.dequantize(tensor.data.reshape(-1, tensor.data.shape[-1])[:1], kind)
        except NotImplementedError as error:
            raise UserError(
                f"{said}: tensor {tensor.name} is of type {kind.name}, which the package gguf "
                f"{version('gguf')} cannot dequantize; take a file of another quantization"
            ) from error


def _check_kind(fields: Mapping[str, Any], said: str) -> None:
    """Refuse what is no whole model, or none that transformers knows to read."""
    from transformers.integrations.gguf import GGUF_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    kind = fields.get("general.type", "model")
    if kind != "model":
        raise UserError(f"{said}: holds {kind!r:.100}, no model")
    if fields.get("split.count", 1) > 1:
        raise UserError(
            f"{said}: is one of {fields['split.count']} parts; merge them (llama.cpp's "
            "llama-gguf-split --merge) and give the one file"
        )
    name = fields.get("general.architecture")
    known = {*GGUF_SUPPORTED_ARCHITECTURES, *GGUF_ARCHS} - {"general", "tokenizer"}
    # by the names that GGUF has for them
    spelled = {str(name), str(name).replace("moe", "_moe"), str(name).replace("-", "_")}
    if not known & spelled:
        raise UserError(
            f"{said}: its architecture {name!r:.100} is none that transformers reads from GGUF; "
            f"known: {', '.join(sorted(known))}; take the model that it was made from "
            "(model.source: hub or path)"
        )


def _check_positions(fields: Mapping[str, Any], tensors: Set[str], said: str) -> None:
    """Refuse rotary positions that are scaled as transformers does not read it from GGUF.

    It would leave the scaling out: another model, without a word.
    """
    name = fields.get("general.architecture")
    scaling = fields.get(f"{name}.rope.scaling.type", "none")
    kind = "by two sets of factors" if any("rope_factors" in one for one in tensors) else scaling
    if kind != "none" and name != "gpt-oss":
        raise UserError(
            f"{said}: its rotary positions are scaled ({kind!r:.100}), which transformers leaves "
            "out when it reads GGUF; take the model that it was made from (model.source: hub or "
            "path)"
        )


def convert_gguf(gguf: Path, directory: Path) -> None:
    """Write a GGUF file's model and tokenizer in Hugging Face format, dequantized to float32.

    Raises:
        UserError: tensors are missing in the file.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    options: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    with _read_once():
        quantized, loaded = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        refuse_misfits(gguf.name, loaded)
        # the loaded model remembers that it was quantized and cannot be saved: a clean one can
        config = AutoConfig.from_pretrained(gguf.parent, trust_remote_code=False, **options)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, trust_remote_code=False, **options)
        divisors = _divisors(gguf)
    config.dtype = torch.float32
    if divisors is not None:
        # the kind whose factors stand in config.json: the same for short and for long sequences
        config.rope_parameters = {
            **config.rope_parameters,
            "rope_type": "longrope",
            "short_factor": divisors,
            "long_factor": divisors,
            "attention_factor": 1.0,
            "original_max_position_embeddings": config.max_position_embeddings,
        }
    with torch.device("meta"):
        clean = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    # the numbers themselves, no second copy of them
    clean.load_state_dict(quantized.state_dict(), assign=True)
    clean.tie_weights()
    clean.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


@contextmanager
def _read_once() -> Iterator[None]:
    """Have what a GGUF file says read once.

    transformers asks for it with every part that it makes, and for all tensors' names with every
    module: seconds each time.
    """
    import gguf

    plain = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    read = cache(gguf.GGUFReader)
    vars(gguf).update(
        GGUFReader=lambda path: read(os.fspath(path)),
        get_tensor_name_map=cache(gguf.get_tensor_name_map),
    )
    try:
        yield
    finally:
        vars(gguf).update(plain)


def _divisors(gguf: Path) -> list[float] | None:
    """What a file's rotary frequencies are divided by (Llama 3.1 and later), or None."""
    from gguf import GGUFReader

    found = [one for one in GGUFReader(gguf).tensors if one.name == DIVISORS]
    return [float(number) for number in found[0].data] if found else None
