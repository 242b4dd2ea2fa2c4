"""Families of models: where they keep blocks, norms, heads and neurons; torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from steerpaper.engine.folder import read_object
from steerpaper.errors import UserError


@dataclass(frozen=True)
class BlockParts:
    """Where a block keeps its heads and neurons, as dotted paths from the block.

    Attributes:
        heads_out: the projection from the heads' outputs, side by side, to the residual stream.
        mlp_norm: the norm whose output the MLP reads.
        mlp_gate: a gated MLP's projection into the activation function; "" where there is none.
        mlp_in: the projection from the norm to the neurons (of a gated MLP: the ungated one).
        activation: the activation function.
        mlp_out: the projection from the neurons' activations to the residual stream.
        parallel: attention and MLP read the same residual; None where the configuration says it.
        gain_offset: what the norms add to their weight to get their gain.
    """

    heads_out: str
    mlp_norm: str
    mlp_gate: str
    mlp_in: str
    activation: str
    mlp_out: str
    parallel: bool | None = False
    gain_offset: float = 0.0


@dataclass(frozen=True)
class Architecture:
    """Where a family of models keeps its parts, as dotted paths from the causal language model.

    `parts` is None where a block is not the sum of its input, its heads and its neurons (norms
    after attention or MLP, fused projections, experts): there only the residual stream is known.
    """

    blocks: str
    final_norm: str
    unembedding: str
    parts: BlockParts | None = None


_GATED = BlockParts(
    heads_out="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    mlp_gate="mlp.gate_proj",
    mlp_in="mlp.up_proj",
    activation="mlp.act_fn",
    mlp_out="mlp.down_proj",
)
_RESIDUAL_ONLY = Architecture("model.layers", "model.norm", "lm_head")
_LLAMA = replace(_RESIDUAL_ONLY, parts=_GATED)
_GEMMA = replace(_RESIDUAL_ONLY, parts=replace(_GATED, gain_offset=1.0))
_PLAIN = BlockParts("attn.c_proj", "ln_2", "", "mlp.c_fc", "mlp.act", "mlp.c_proj")
_GPT2 = Architecture("transformer.h", "transformer.ln_f", "lm_head", _PLAIN)
_NEOX = Architecture(
    "gpt_neox.layers",
    "gpt_neox.final_layer_norm",
    "lm_head",
    BlockParts(
        heads_out="attention.dense",
        mlp_norm="post_attention_layernorm",
        mlp_gate="",
        mlp_in="mlp.dense_h_to_4h",
        activation="mlp.act",
        mlp_out="mlp.dense_4h_to_h",
        parallel=None,
    ),
)

# by the model type that config.json names
ARCHITECTURES: Mapping[str, Architecture] = {
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _RESIDUAL_ONLY,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _GEMMA,
    "gemma2": _RESIDUAL_ONLY,
    "gemma3_text": _RESIDUAL_ONLY,
    "phi3": _RESIDUAL_ONLY,
    "olmo2": _RESIDUAL_ONLY,
    "smollm3": _LLAMA,
}


def architecture(directory: str | Path) -> Architecture:
    """Look up the architecture of a model folder by the model type in its config.json.

    Raises:
        UserError: no config.json, or a model type that is not known.
    """
    path = Path(directory) / "config.json"
    model_type = read_object(path).get("model_type")
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise UserError(
            f"{path}: model type {model_type!r:.100} is not known, so its blocks, final norm and "
            f"unembedding cannot be found; known: {', '.join(sorted(ARCHITECTURES))}. "
            "A new family is one line in scripts/steerpaper/engine/families.py"
        )
    return ARCHITECTURES[model_type]
