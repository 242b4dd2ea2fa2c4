"""A model folder as data that came from somewhere: its JSON files and what libraries say of it.

Nothing here needs torch, nor anything else from outside Python.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError

# configuration, tokenizer and weights: no pickles, no code
WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model")
LONGEST = 400  # characters of what a library says that a message repeats
# the number of blocks, and the longest sequence, by the families' names for them
BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len")
# what is an extent of some tensor, by the families' names
WIDTHS = (
    *("hidden_size", "n_embd", "intermediate_size", "n_inner", "vocab_size", "head_dim"),
    *("num_attention_heads", "n_head", "num_key_value_heads"),
)
# how attention and experts are computed: transformers' own ways; others are kernels to be fetched
OWN_WAYS = (None, "eager", "sdpa", "grouped_mm", "batched_mm")
WAYS = tuple(f"{own}{kind}_implementation" for kind in ("attn", "experts") for own in ("", "_"))


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Say whatever a library raises at a file that came as data in one message that names it.

    Raises:
        UserError: `place`, and the library's words.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{place}: {told(error)}") from error
    except BaseException as error:
        # a panic in Rust, by its name: its class cannot be imported
        if type(error).__name__ != "PanicException":
            raise
        raise UserError(f"{place}: {told(error)}") from error


def told(error: BaseException) -> str:
    """What an exception says, in one line; a bare word gets the exception's name."""
    words = " ".join(str(error).split())
    if " " not in words:
        words = f"{type(error).__name__}: {words}"
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"


def read_object(path: Path) -> dict[str, Any]:
    """Read a file of a model folder that holds one JSON object.

    Raises:
        UserError: it cannot be read, is not JSON, or another value.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise UserError(f"{path}: cannot be read as JSON: too many brackets in brackets") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {told(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def read_config(directory: str | Path) -> dict[str, Any]:
    """Read a model folder's config.json; its sizes are whole and positive, its weights plain.

    Raises:
        UserError: names the key and its value.
    """
    path = Path(directory) / "config.json"
    config = read_object(path)
    for key in (*BLOCKS, *CONTEXT, *WIDTHS, "sliding_window"):
        value, least = text_part(config).get(key), 0 if key == "sliding_window" else 1
        # of some models one a block
        for one in value if isinstance(value, list) and key in WIDTHS else [value]:
            if one is not None and (type(one) is not int or one < least):
                raise UserError(f"{path}: {key} is {one!r:.100}; expected a whole number above 0")
    if first_of(config, BLOCKS) is None:
        raise UserError(f"{path}: the number of blocks is missing ({' or '.join(BLOCKS)})")
    if (quantized := config.get("quantization_config")) is not None:
        method = quantized.get("quant_method") if isinstance(quantized, Mapping) else quantized
        raise UserError(
            f"{path}: the weights are quantized (quantization_config: {method!r:.100}), which "
            "needs libraries and kernels of its own; save a model with plain weights "
            "(transformers' model.dequantize()) or take the one that it was made from"
        )
    for key in WAYS:
        if config.get(key) not in OWN_WAYS:
            raise UserError(
                f"{path}: {key} is {config[key]!r:.100}, a kernel that is no part of transformers; "
                "remove the key"
            )
    return config


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a configuration says of text, where it is one of pictures or sound too."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else config


def first_of(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """The value of the first of some keys that a configuration has of text, or None."""
    text = text_part(config)
    return next((text[key] for key in keys if text.get(key) is not None), None)


def n_blocks(config: Mapping[str, Any]) -> int:
    """The number of blocks that a checked config.json describes."""
    number = first_of(config, BLOCKS)
    assert number is not None
    return number


def context(config: Mapping[str, Any]) -> int | None:
    """The longest sequence in tokens, or None where config.json says none."""
    return first_of(config, CONTEXT)


def refuse_adapter(directory: str | Path) -> None:
    """Refuse an adapter beside the weights: it would be left out, or fetch another model.

    Raises:
        UserError: says how to merge it.
    """
    if (Path(directory) / "adapter_config.json").exists():
        raise UserError(
            f"{directory}: holds an adapter (adapter_config.json), which would be left out; merge "
            "it into the model (peft's merge_and_unload) and save that"
        )
