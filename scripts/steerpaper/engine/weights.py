"""A block's weights as the papers write them: which rows are heads, which are neurons.

Every matrix has the residual stream as its last axis, whatever way round the model stores it.
`engine.identities` proves that a block is what these functions take it for.
"""

from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.model import LanguageModel
from steerpaper.engine.norms import NONE, Norm, norm_of
from steerpaper.engine.offloaded import weight_of
from steerpaper.engine.parts import refuse


def module_at(lm: LanguageModel, layer: int, path: str) -> Any:
    """A module of a block."""
    return lm.blocks[layer]._module.get_submodule(path)


def is_parallel(lm: LanguageModel) -> bool:
    """Do attention and MLP read the same residual, so that a block's heads miss its neurons?"""
    return lm.parts.parallel


def head_count(lm: LanguageModel) -> int:
    """Attention heads of a block (query heads, where keys and values are shared by groups)."""
    return int(lm.nn._module.config.get_text_config().num_attention_heads)


def _in_by_out(module: Any) -> Tensor:
    """A projection's weight as [input, output]; GPT-2's Conv1D keeps it so, a Linear transposed."""
    weight = weight_of(module)
    return weight.T if isinstance(module, torch.nn.Linear) else weight


def heads_out(lm: LanguageModel, layer: int) -> Tensor:
    """W_O [head, z, d]: head h writes z_h @ W_O[h] to the residual stream (without bias).

    Where a norm stands behind the heads, that times the norm's scale at the token.
    """
    weight = _in_by_out(module_at(lm, layer, lm.parts.heads_out))
    weight = weight.reshape(head_count(lm), -1, weight.shape[-1])
    return written(lm, heads_norm(lm, layer), weight)


def neurons_out(lm: LanguageModel, layer: int) -> Tensor:
    """W_out [neuron, d]: neuron i writes its activation times W_out[i] to the residual stream.

    Where a norm stands behind the MLP, that times the norm's scale at the token.
    """
    weight = _in_by_out(module_at(lm, layer, lm.parts.mlp_out))
    return written(lm, neurons_norm(lm, layer), weight)


def written(lm: LanguageModel, norm: Norm, vectors: Tensor) -> Tensor:
    """What becomes of a projection's output on its way to the residual stream, [..., d].

    It goes through a norm, whose scale is left out here, and is multiplied as its family does.
    """
    vectors = norm.passed(vectors)
    multiplier = lm.parts.multiplier
    return vectors if multiplier == 1 else vectors * multiplier


def neurons_in(lm: LanguageModel, layer: int) -> Tensor:
    """W_in [neuron, d]; of a gated MLP the ungated (up) projection."""
    weight = _in_by_out(module_at(lm, layer, lm.parts.mlp_in)).T
    return weight.chunk(2)[1] if lm.parts.fused else weight


def gates_in(lm: LanguageModel, layer: int) -> Tensor | None:
    """W_gate [neuron, d], what goes into the activation function; None for an MLP with no gate."""
    path = lm.parts.mlp_gate
    if not path:
        return None
    weight = _in_by_out(module_at(lm, layer, path)).T
    return weight.chunk(2)[0] if lm.parts.fused else weight


def activation_function(lm: LanguageModel, layer: int) -> Any:
    """The MLP's activation function, elementwise."""
    return module_at(lm, layer, lm.parts.activation)


def _norm(lm: LanguageModel, module: Any, path: str) -> Norm:
    norm = norm_of(module, lm.width, lm.dtype, lm.device)
    if norm is None:
        raise refuse(
            lm.name,
            f"'{path}' ({type(module).__name__}) is neither a LayerNorm nor an RMSNorm of the "
            f"residual stream's {lm.width} numbers",
        )
    return norm


def _norm_in(lm: LanguageModel, layer: int, path: str) -> Norm:
    return _norm(lm, module_at(lm, layer, path), f"block {layer}: {path}") if path else NONE


def heads_norm(lm: LanguageModel, layer: int) -> Norm:
    """The norm between the heads and the residual stream, or none."""
    return _norm_in(lm, layer, lm.parts.heads_norm)


def mlp_norm(lm: LanguageModel, layer: int) -> Norm:
    """The norm whose output the block's MLP reads, or none."""
    return _norm_in(lm, layer, lm.parts.mlp_norm)


def neurons_norm(lm: LanguageModel, layer: int) -> Norm:
    """The norm between the neurons and the residual stream, or none."""
    return _norm_in(lm, layer, lm.parts.neurons_norm)


def final_norm(lm: LanguageModel) -> Norm:
    """The norm before the unembedding, or none."""
    path = lm.where.final_norm
    return _norm(lm, lm.nn._module.get_submodule(path), path) if path else NONE


def unembedding(lm: LanguageModel) -> Tensor:
    """W_U [V, d]."""
    return weight_of(lm.nn._module.get_submodule(lm.where.unembedding))
