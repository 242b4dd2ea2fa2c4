"""Tiny GGUF files: a random model of Llama's kind in any type of numbers that gguf has."""

import gguf
import numpy as np

# quantizations of rows that are multiples of 256; the others take 32
WIDE = 256


def raw(shape, kind, values):
    """Random blocks of a quantization that the package gguf does not write itself.

    Bytes below 60 make scales that are finite and at most 1, in any of their formats.
    """
    size, packed = gguf.GGML_QUANT_SIZES[kind]
    return values.integers(0, 60, (*shape[:-1], shape[-1] // size * packed), dtype=np.uint8)


def packed(numbers, kind, values):
    """An array in a type of numbers, as a file has it."""
    try:
        return gguf.quantize(numbers, kind)
    except NotImplementedError:
        return raw(numbers.shape, kind, values)


def write_gguf(
    path, blocks=2, without=(), kind="F32", width=32, arch="llama", fields=None, extra=None
):
    """A tiny model in GGUF: two blocks, nine tokens.

    Args:
        blocks: as many as the file says that it has.
        without: tensors that are left out, or keys (those that hold a colon: `key:`).
        kind: what matrices are in.
        fields: further keys that hold a text or a number.
        extra: further tensors.
    """
    kind = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_block_count(blocks)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(9)
    for key, value in (fields or {}).items():
        (writer.add_string if isinstance(value, str) else writer.add_uint16)(key, value)
    if "tokenizer:" not in without:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([*"abcdef", "ab", "<s>", "</s>"])
        writer.add_token_merges(["a b"])
        writer.add_token_types([1] * 7 + [3] * 2)
        writer.add_bos_token_id(7)
        writer.add_eos_token_id(8)
    shapes = {"token_embd": (9, width), "output": (9, width), "output_norm": (width,)}
    for block in range(2):
        for name in ("attn_norm", "ffn_norm"):
            shapes[f"blk.{block}.{name}"] = (width,)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{block}.{name}"] = (width, width)
        shapes |= {f"blk.{block}.{name}": (2 * width, width) for name in ("ffn_gate", "ffn_up")}
        shapes[f"blk.{block}.ffn_down"] = (width, 2 * width)
    values = np.random.default_rng(0)
    for name, shape in shapes.items():
        numbers = values.standard_normal(shape).astype(np.float32)
        if name in without:
            continue
        if len(shape) == 1 or kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(f"{name}.weight", numbers)
        else:
            writer.add_tensor(f"{name}.weight", packed(numbers, kind, values), raw_dtype=kind)
    for name, numbers in (extra or {}).items():
        writer.add_tensor(name, np.asarray(numbers, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()
