"""What is checked of a model folder, once, before any job uses it.

Weights are read tensor by tensor; the model is built without memory for them (torch's meta
device), so that names and shapes are compared as transformers itself compares them.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steerpaper.engine.finding import block_lists
from steerpaper.engine.folder import (
    BLOCKS,
    CONTEXT,
    WIDTHS,
    first_of,
    read_config,
    read_object,
    reading,
    refuse_adapter,
    text_part,
)
from steerpaper.engine.template import QUESTION, try_template
from steerpaper.engine.text import control_tokens, load_tokenizer, token_ids
from steerpaper.errors import UserError

log = logging.getLogger(__name__)

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F64", "F32", "F16", "BF16"}
PIECE = 2**24  # numbers of a tensor that are looked at at a time
# read by transformers where it is there; each holds one object
OPTIONAL = (
    *("generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json"),
)

Shapes = dict[str, tuple[str, list[int]]]


def check_folder(directory: Path) -> None:
    """Check configuration, weights, tokenizer and chat template of a model folder.

    Raises:
        UserError: names the file, the key or the tensor, and what is wrong with it.
    """
    refuse_adapter(directory)
    config = read_config(directory)
    refuse_unknown(directory / "config.json", config)
    _read_objects(directory, config)
    files = weight_files(directory)
    shapes = {name: shape for file in files for name, shape in _header(file).items()}
    _refuse_sizes(directory, config, shapes)
    _check_generation(directory)
    rows, unused = _check_model(directory)
    _refuse_integers(files, shapes, unused)
    for file in files:
        refuse_not_finite(file, unused)
    _check_tokenizer(directory, rows)


def check_described(directory: Path) -> None:
    """Check configuration, tokenizer and chat template of a model whose weights are elsewhere.

    Raises:
        UserError: names the file or the key, and what is wrong with it.
    """
    import torch

    from steerpaper.engine.pretrained import described

    path = directory / "config.json"
    config = read_config(directory)
    refuse_unknown(path, config)
    _read_objects(directory, config)
    for key in (*BLOCKS, *WIDTHS):
        if first_of(config, (key,)) and not _plausible(text_part(config)[key]):
            raise UserError(f"{path}: {key} is {text_part(config)[key]}, more than any model has")
    _check_generation(directory)
    with reading(f"{path}: no model can be built of it"):
        module = described(directory, torch.float32)
        block_lists(module)
    _check_tokenizer(directory, module.get_input_embeddings().weight.shape[0])


def _plausible(size: Any) -> bool:
    return all(one < 10**7 for one in (size if isinstance(size, list) else [size]))


def _read_objects(directory: Path, config: Mapping[str, Any]) -> None:
    """Read the other JSON files, and say whose code is left out (`auto_map` names it)."""
    contents = {"config.json": config}
    for name in OPTIONAL:
        if (directory / name).exists():
            contents[name] = read_object(directory / name)
    for name, content in contents.items():
        if "auto_map" in content:
            log.warning("%s names code of the model's own (auto_map), which is not run", name)


def refuse_unknown(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a configuration whose model type transformers has no causal language model of.

    Raises:
        UserError: names the type.
    """
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in KNOWN:
        raise UserError(
            f"{path}: of model type {kind!r:.100} transformers {transformers.__version__} has no "
            "causal language model; take a decoder that it has, with the config.json that "
            "save_pretrained writes"
        )


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files that hold the model: one, or those that an index names.

    Raises:
        UserError: there are none, or the index names what is no safetensors file of this folder.
    """
    if (directory / SINGLE).exists():
        return [directory / SINGLE]
    index = directory / INDEX
    if not index.exists():
        raise UserError(
            f"{directory}: the model has no safetensors weights ({SINGLE}, or {INDEX} and what it "
            "names); other formats are not read (they can run code): convert it with "
            "transformers' save_pretrained"
        )
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise UserError(f"{index}: weight_map must name a file for every tensor")
    for tensor, name in named.items():
        plain = isinstance(name, str) and name == Path(name).name
        if not plain or not name.endswith(".safetensors"):
            raise UserError(
                f"{index}: '{tensor}' lies in {name!r:.100}; only safetensors files of the same "
                "folder are read"
            )
        if not (directory / name).exists():
            raise UserError(f"{index}: names {name}, which is not there; fetch or copy it")
    return [directory / name for name in sorted(set(named.values()))]


def _header(file: Path) -> Shapes:
    """A safetensors file's tensors by name: number type and shape; the file is whole."""
    from safetensors import safe_open

    with reading(f"{file}: is damaged or no safetensors file"), safe_open(file, "pt") as source:
        slices = {name: source.get_slice(name) for name in source.keys()}  # noqa: SIM118
        return {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}


def _refuse_sizes(directory: Path, config: Mapping[str, Any], shapes: Shapes) -> None:
    """Refuse sizes that no tensor has: to build such a model would take all memory, or for ever."""
    path = directory / "config.json"
    blocks = first_of(config, BLOCKS) or 0
    if blocks > len(shapes):
        raise UserError(f"{path}: {blocks} blocks, but the files hold {len(shapes)} tensors")
    widest = max((size for _, shape in shapes.values() for size in shape), default=0)
    # a context may be longer than any tensor, where positions are no embedding
    for key in WIDTHS:
        value = text_part(config).get(key)
        for one in value if isinstance(value, list) else [value or 0]:
            if one > widest:
                raise UserError(
                    f"{path}: {key} is {one}, but the widest tensor in the files has {widest}"
                )
    longest = first_of(config, CONTEXT) or 0
    if longest > 10**9:
        raise UserError(f"{path}: a context of {longest} tokens; expected up to 10**9")


def _check_generation(directory: Path) -> None:
    path = directory / "generation_config.json"
    if not path.exists():
        return
    from transformers import GenerationConfig

    ends = read_object(path).get("eos_token_id")
    for one in ends if isinstance(ends, list) else [ends]:
        if one is not None and (type(one) is not int or one < 0):
            raise UserError(f"{path}: eos_token_id is {ends!r:.100}; expected token ids")
    with reading(f"{path}: cannot be used"):
        GenerationConfig.from_pretrained(directory, local_files_only=True)


def _check_model(directory: Path) -> tuple[int, list[str]]:
    """Build the model without weights, and compare the files' tensors with its own.

    Returns:
        The rows of its embedding, and patterns of the tensors' names that it does not read.
    """
    import torch

    from steerpaper.engine.pretrained import CONSTANT, pretrained

    with reading(f"{directory / 'config.json'}: no model can be built of it"):
        module = pretrained(directory, torch.float32, "meta")
        block_lists(module)
    rows: int = module.get_input_embeddings().weight.shape[0]
    return rows, [CONSTANT.pattern, *(module._keys_to_ignore_on_load_unexpected or [])]


def _refuse_integers(files: list[Path], shapes: Shapes, unused: list[str]) -> None:
    for name, (kind, _) in sorted(shapes.items()):
        if kind not in FLOATS and not any(re.search(pattern, name) for pattern in unused):
            raise UserError(
                f"{files[0].parent}: tensor {name} holds numbers of type {kind}, and config.json "
                "no quantization: the scales are lost; expected floats "
                f"({', '.join(sorted(FLOATS))})"
            )


def refuse_not_finite(file: Path, unused: list[str]) -> None:
    """Refuse weights that are infinite or no number, reading a piece at a time.

    Args:
        unused: patterns of the names of tensors that the model does not read.

    Raises:
        UserError: names file and tensor.
    """
    import torch
    from safetensors import safe_open

    with safe_open(file, "pt") as source:
        for name in source.keys():  # noqa: SIM118
            if any(re.search(pattern, name) for pattern in unused):
                continue
            for piece in _pieces(source.get_slice(name)):
                if not torch.isfinite(piece).all():
                    raise UserError(
                        f"{file}: tensor {name} has values that are not finite; "
                        "fetch or save the model again"
                    )


def _pieces(tensor: Any) -> Iterator[Any]:
    shape = tensor.get_shape()
    if not shape:
        yield tensor[...]
        return
    row = 1
    for size in shape[1:]:
        row *= size
    step = max(1, PIECE // max(1, row))
    for start in range(0, shape[0], step):
        yield tensor[start : start + step]


def _check_tokenizer(directory: Path, rows: int) -> None:
    """Load the tokenizer, use it once, and compare its tokens with the embedding's rows."""
    path = directory / "tokenizer_config.json"
    code = read_object(path).get("auto_map") if path.exists() else None
    try:
        tokenizer = load_tokenizer(directory)
    except UserError as error:
        if code:
            raise UserError(
                f"{path}: the tokenizer needs code of its own (auto_map: {code!r:.100}), which is "
                "never run; take a model whose tokenizer is part of transformers"
            ) from error
        raise
    with reading(f"{directory}: the tokenizer cannot be used"):
        ids = tokenizer.get_vocab()
        tokenizer.decode(token_ids(tokenizer, QUESTION[0]["content"]))
        template = tokenizer.chat_template and tokenizer.get_chat_template()
        # special tokens that no text may hold need no row, but those that batches and turns need
        used = {tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token}
        needed = set(ids) - (set(control_tokens(tokenizer)) - used)
    if template:
        if not isinstance(template, str):
            raise UserError(f"{directory}: the chat template is {template!r:.100}; expected text")
        text = try_template(str(directory), tokenizer)
        with reading(f"{directory}: the tokenizer cannot be used"):
            needed.update(tokenizer.convert_ids_to_tokens(token_ids(tokenizer, text)))
    last = max(needed, key=lambda token: ids.get(token, 0))
    if ids.get(last, 0) >= rows:
        raise UserError(
            f"{directory}: the tokenizer has token {last!r} with id {ids[last]}, but the model's "
            f"embedding has {rows} rows; take tokenizer and weights from the same place"
        )
