"""Where a block keeps its heads and neurons, as dotted paths from the block."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn


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
        parallel: attention and MLP read the same residual.
        gain_offset: what the norms add to their weight to get their gain.
    """

    heads_out: str
    mlp_norm: str
    mlp_gate: str
    mlp_in: str
    activation: str
    mlp_out: str
    parallel: bool = False
    gain_offset: float = 0.0


_GATED = BlockParts(
    heads_out="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    mlp_gate="mlp.gate_proj",
    mlp_in="mlp.up_proj",
    activation="mlp.act_fn",
    mlp_out="mlp.down_proj",
)
_PLAIN = BlockParts("attn.c_proj", "ln_2", "", "mlp.c_fc", "mlp.act", "mlp.c_proj")
_NEOX = BlockParts(
    "attention.dense",
    "post_attention_layernorm",
    "",
    "mlp.dense_h_to_4h",
    "mlp.act",
    "mlp.dense_4h_to_h",
)


def parts_of(block: nn.Module, config: Any) -> BlockParts | None:
    """The parts of a block that is the sum of its input, its heads and its neurons, or None."""
    names = {name for name, _ in block.named_modules()}
    if any("experts" in name or "feedforward" in name for name in names):
        return None
    for parts in (_GATED, _PLAIN, _NEOX):
        paths = (parts.heads_out, parts.mlp_norm, parts.mlp_in, parts.activation, parts.mlp_out)
        if {*paths, parts.mlp_gate or paths[0]} <= names:
            norm = type(block.get_submodule(parts.mlp_norm)).__name__
            offset = 1.0 if norm.startswith("Gemma") else 0.0
            parallel = bool(getattr(config, "use_parallel_residual", False))
            return replace(parts, parallel=parallel, gain_offset=offset)
    return None
