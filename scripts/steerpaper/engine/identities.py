"""Proof, on the user's own model, that its blocks are sums of what heads and neurons write.

Every claim is made of the weights as `engine.weights` has them and of what the engine reads on a
pass of three tokens, and is compared with what the model's own modules gave there.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from steerpaper.engine.batching import empty_prefix, run_batches
from steerpaper.engine.caches import Site
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.norms import Norm
from steerpaper.engine.parts import TOKENS, Seen, first_tensor, refuse, run_tokens, watched
from steerpaper.engine.unembed import after_unembedding
from steerpaper.engine.weights import (
    activation_function,
    final_norm,
    gates_in,
    head_count,
    heads_norm,
    heads_out,
    mlp_norm,
    module_at,
    neurons_in,
    neurons_norm,
    neurons_out,
    unembedding,
    written,
)

# how far two ways may be from each other, by dtype, of the longest token's norm
ALLOWED = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}

# a claim, what follows from the weights, what the model gives, and a tensor that was added to both
Claim = tuple[str, Tensor, Tensor, Tensor | None]


def check_parts(lm: LanguageModel) -> None:
    """Check on three tokens that every block is what `engine.weights` takes it for.

    Raises:
        UserError: it is not; names the block and what does not hold.
    """
    heads, wide = head_count(lm), module_at(lm, 0, lm.parts.heads_out).weight.numel() // lm.width
    if wide % heads:
        raise refuse(lm.name, f"{heads} heads cannot stand side by side in {wide} numbers")
    got, logits = _read(lm)
    for layer in range(lm.n_layers):
        for claim, ours, theirs, under in _claims(lm, layer, got):
            _hold(lm, f"block {layer}: {claim}", ours, theirs, under)
    _check_logits(lm, got[lm.n_layers - 1, RESIDUAL], logits)
    _check_heads(lm)


def _read(lm: LanguageModel) -> tuple[Mapping[Site, Tensor], Tensor]:
    """All places of all blocks, and the logits, on a pass of three tokens, without the axis of rows."""
    ids = torch.arange(TOKENS, device=lm.device)[None]
    sites = [
        (layer, name) for layer in range(lm.n_layers) for name in (*lm.parts.order, RESIDUAL)
    ]

    def run(_: list[int]) -> tuple[Mapping[Site, Tensor], Tensor | None]:
        return forward(
            lm,
            ids,
            torch.ones_like(ids),
            empty_prefix(lm, 1).cache,
            reads=dict.fromkeys(sites, lambda x: x[0].clone()),
            logits=lambda x: x[0, :].clone(),
        )

    # a batch of one, so that what does not fit is told alike
    ((_, (got, logits)),) = run_batches([TOKENS], TOKENS, run)
    assert logits is not None
    return got, logits


def _claims(lm: LanguageModel, layer: int, got: Mapping[Site, Tensor]) -> Iterator[Claim]:
    """What must hold of a block."""
    parts = lm.parts
    x = {name: got[layer, name] for name in parts.order}
    z = x["heads"]
    heads = _written(
        lm, heads_norm(lm, layer), z, heads_out(lm, layer).flatten(0, 1), layer, "heads"
    )
    heads = heads * _scale(heads_norm(lm, layer), x.get("heads_norm"))
    yield "", heads, heads, None
