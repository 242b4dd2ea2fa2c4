"""A block's weights as the papers write them: which rows are heads, which are neurons.

Every matrix has the residual stream as its last axis, whatever way round the model stores it.
`check_parts` proves on a tiny forward pass that a block is what these functions take it for.
"""

from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.batching import empty_prefix, run_batches
from steerpaper.engine.caches import Change, Site
from steerpaper.engine.forward import INSIDE, RESIDUAL, forward
from steerpaper.engine.model import LanguageModel
from steerpaper.errors import UserError


def _module(lm: LanguageModel, layer: int, path: str) -> Any:
    return lm.blocks[layer]._module.get_submodule(path)


def _parts(lm: LanguageModel) -> Any:
    if lm.nn._module.device.type == "meta":
        raise UserError(
            f"model {lm.name}: its weights are at NDIF (model.remote), and what is asked for is "
            "made of the weights of heads and neurons; run the model on this machine, or set "
            "studies: [steering]"
        )
    if lm.parts is None:
        raise UserError(
            f"model {lm.name}: its heads and neurons cannot be told apart: its blocks have norms "
            "after attention or MLP, fused projections or experts. Look-ups need a model of the "
            "GPT-2, GPT-NeoX, Llama, Mistral, Qwen2, Qwen3, Gemma 1 or SmolLM3 families"
        )
    return lm.parts


def is_parallel(lm: LanguageModel) -> bool:
    """Do attention and MLP read the same residual, so that a block's heads miss its neurons?"""
    return bool(_parts(lm).parallel)


def head_count(lm: LanguageModel) -> int:
    """Attention heads of a block (query heads, where keys and values are shared by groups)."""
    return int(lm.nn._module.config.get_text_config().num_attention_heads)


def _in_by_out(module: Any) -> Tensor:
    """A projection's weight as [input, output]; GPT-2's Conv1D keeps it so, a Linear transposed."""
    weight: Tensor = module.weight
    return weight.T if isinstance(module, torch.nn.Linear) else weight


def heads_out(lm: LanguageModel, layer: int) -> Tensor:
    """W_O [head, z, d]: head h writes z_h @ W_O[h] to the residual stream (without bias)."""
    weight = _in_by_out(_module(lm, layer, _parts(lm).heads_out))
    return weight.reshape(head_count(lm), -1, weight.shape[-1])


def neurons_out(lm: LanguageModel, layer: int) -> Tensor:
    """W_out [neuron, d]: neuron i writes its activation times W_out[i] to the residual stream."""
    return _in_by_out(_module(lm, layer, _parts(lm).mlp_out))


def neurons_in(lm: LanguageModel, layer: int) -> Tensor:
    """W_in [neuron, d]; of a gated MLP the ungated (up) projection."""
    return _in_by_out(_module(lm, layer, _parts(lm).mlp_in)).T


def gates_in(lm: LanguageModel, layer: int) -> Tensor | None:
    """W_gate [neuron, d], what goes into the activation function; None for an MLP with no gate."""
    path = _parts(lm).mlp_gate
    return _in_by_out(_module(lm, layer, path)).T if path else None


def activation_function(lm: LanguageModel, layer: int) -> Any:
    """The MLP's activation function, elementwise."""
    return _module(lm, layer, _parts(lm).activation)


def mlp_norm(lm: LanguageModel, layer: int) -> Any:
    """The norm whose output the block's MLP reads."""
    return _module(lm, layer, _parts(lm).mlp_norm)


def final_norm(lm: LanguageModel) -> Any:
    """The norm before the unembedding."""
    return lm.nn._module.get_submodule(lm.where.final_norm)


def unembedding(lm: LanguageModel) -> Tensor:
    """W_U [V, d]."""
    weight: Tensor = lm.nn._module.get_submodule(lm.where.unembedding).weight
    return weight


def fold_norm(lm: LanguageModel, norm: Any, directions: Tensor) -> Tensor:
    """Directions that a norm's output is read in, as directions in the residual stream.

    For a residual x whose norm scales it by s > 0: <norm(x), w> = s <x, fold_norm(w)> + constant.
    The gain is multiplied in; a LayerNorm also subtracts the mean over d, an RMSNorm does not.

    Args:
        directions: [..., d].
    """
    folded: Tensor = directions * (norm.weight + _parts(lm).gain_offset)
    if isinstance(norm, torch.nn.LayerNorm):
        folded = folded - folded.mean(dim=-1, keepdim=True)
    return folded


def norm_scale(norm: Any, residual: Tensor) -> Tensor:
    """What a norm multiplies its input by, one positive number a token, [...] of [..., d]."""
    if isinstance(norm, torch.nn.LayerNorm):
        residual = residual - residual.mean(dim=-1, keepdim=True)
    epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", 0.0))
    scale: Tensor = (residual.float().square().mean(dim=-1) + epsilon).rsqrt()
    return scale


def check_parts(lm: LanguageModel) -> None:
    """Check on two tokens that every block is what the functions above take it for.

    Raises:
        UserError: heads, neurons or norm are not where the architecture says.
    """
    _parts(lm)
    token = torch.arange(2, device=lm.device)[None]
    blocks = range(lm.n_layers)
    gated = gates_in(lm, 0) is not None
    sites = [site for site in INSIDE if gated or site != "mlp_gate"]
    reads: dict[Site, Change] = {
        (layer, site): lambda x: x.clone() for layer in blocks for site in (*sites, RESIDUAL)
    }
    mask, cache = torch.ones_like(token), empty_prefix(lm, 1).cache
    # a batch of one, so that what does not fit is told alike
    runs = run_batches([2], 2, lambda _: forward(lm, token, mask, cache, reads=reads)[0])
    ((_, got),) = runs
    for layer in blocks:
        x = {site: got[layer, site] for site in sites}
        norm, act = mlp_norm(lm, layer), activation_function(lm, layer)
        attention = _module(lm, layer, _parts(lm).heads_out)(x["heads"])
        before = x["mlp_norm"] if is_parallel(lm) else x["mlp_norm"] - attention
        after = before + attention + _module(lm, layer, _parts(lm).mlp_out)(x["neurons"])
        neurons = act(x["mlp_gate"]) * x["mlp_in"] if gated else act(x["mlp_in"])
        scale = norm_scale(norm, x["mlp_norm"])[..., None].to(after.dtype)
        # without constants: the difference between the two tokens
        read = fold_norm(lm, norm, neurons_in(lm, layer))
        seen = ((x["mlp_norm"] * scale) @ read.T).diff(dim=1)
        same = {
            "the block's output is its input plus heads and neurons": (after, got[layer, RESIDUAL]),
            "the block's input is the last block's output": (
                before,
                got[max(layer - 1, 0), RESIDUAL],
            )
            if layer
            else (before, before),
            "the neurons' activations follow from what they read": (neurons, x["neurons"]),
            "the neurons read the norm": (seen, x["mlp_in"].diff(dim=1)),
        }
        tolerance = 1e-3 if after.dtype == torch.float32 else 0.1
        for claim, (one, other) in same.items():
            size = other.abs().max().clamp(min=1e-6)
            if one.shape != other.shape or (one - other).abs().max() > tolerance * size:
                raise UserError(
                    f"model {lm.name}, block {layer}: it does not hold that {claim}, so heads and "
                    "neurons are not where the architecture says (engine/families.py)"
                )
