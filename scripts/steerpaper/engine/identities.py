"""Proof, on the user's own model, that its blocks are sums of what heads and neurons write.

Every claim is made of the weights as `engine.weights` has them and of what the engine reads on a
pass of three tokens, and is compared with what the model's own modules gave there.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.batching import empty_prefix, run_batches
from steerpaper.engine.caches import Site
from steerpaper.engine.forward import RESIDUAL, forward
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.norms import Norm
from steerpaper.engine.offloaded import is_quantized, weight_of
from steerpaper.engine.parts import TOKENS, Seen, refuse, run_tokens, tokens_of, watched
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

# how far two ways may be from each other, by dtype, as a share of a token's norm
ALLOWED = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}
# roundings of the residual stream that the difference of two of its states may be off by
ROUNDINGS = 4
# a claim, what follows from the weights, what the model gives, and what this was subtracted from
Claim = tuple[str, Tensor, Tensor, Tensor | None]


def check_parts(lm: LanguageModel) -> None:
    """Check on three tokens that every block is what `engine.weights` takes it for.

    Raises:
        UserError: it is not; names the block and what does not hold.
    """
    if lm.nn._module.device.type == "meta":
        raise refuse(lm.name, "its weights are at NDIF (model.remote)")
    got, logits = _read(lm)
    heads, wide = head_count(lm), got[0, "heads"].shape[-1]
    if wide % heads:
        raise refuse(lm.name, f"{heads} heads do not stand side by side in {wide} numbers")
    for layer in range(lm.n_layers):
        for claim in _claims(lm, layer, got):
            _hold(lm, f"in block {layer}", claim)
    if lm.readout is None:
        _hold(lm, "after the last block", _of_logits(lm, got[lm.n_layers - 1, RESIDUAL], logits))
    _check_heads(lm, heads)


def _hold(lm: LanguageModel, where: str, claim: Claim) -> None:
    """Refuse a model of which a claim does not hold."""
    what, *two, whole = claim
    ours, theirs = (x.float() for x in two)
    size = theirs.norm(dim=-1)
    room = _allowed(lm) * (size + 0.01 * size.max())
    if whole is not None:
        room = room + ROUNDINGS * torch.finfo(lm.dtype).eps * whole.float().norm(dim=-1)
    # what is not a number holds no claim
    if ours.shape != theirs.shape or not bool(((ours - theirs).norm(dim=-1) <= room + 1e-6).all()):
        raise refuse(lm.name, f"{where} it does not hold that {what}")


def _allowed(lm: LanguageModel) -> float:
    """How far two ways may be from each other: quantized matrices make products in another way."""
    quantized = is_quantized(lm.nn._module)
    return max(ALLOWED[lm.dtype], ALLOWED[torch.bfloat16] if quantized else 0)


def _read(lm: LanguageModel) -> tuple[Mapping[Site, Tensor], Tensor]:
    """All places of all blocks, and the logits, of three tokens: [token, …]."""
    ids = tokens_of(lm.nn._module).to(lm.device)
    names = (*lm.parts.order, RESIDUAL)
    sites = [(layer, name) for layer in range(lm.n_layers) for name in names]

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
    parts, x = lm.parts, {name: got[layer, name] for name in lm.parts.order}
    heads_weight = heads_out(lm, layer).flatten(0, 1)
    heads = _written(lm, layer, parts.heads_out, heads_weight, heads_norm(lm, layer), x, "heads")
    neurons_weight = neurons_out(lm, layer)
    norm = neurons_norm(lm, layer)
    neurons = _written(lm, layer, parts.mlp_out, neurons_weight, norm, x, "neurons")
    read, after = x["mlp_norm"], got[layer, RESIDUAL]
    # the first block's input stands nowhere
    before = read if parts.parallel else read - heads
    if layer:  # two blocks may lie on two devices
        before = got[layer - 1, RESIDUAL].to(read.device)
    if parts.parallel:
        yield "the MLP reads the block's input", read, before, None
    else:
        yield "the MLP reads the block's input and what heads write", heads, read - before, read
    what = "the block's output is its input and what heads and neurons write"
    yield what, heads + neurons, after - before, after
    gates = gates_in(lm, layer)
    into = {"mlp_in": neurons_in(lm, layer)} | ({} if gates is None else {"mlp_gate": gates})
    for name, weight in into.items():
        bias = _bias(lm, layer, parts.places()[name][0])
        if bias is not None and parts.fused:
            bias = bias.chunk(2)[name == "mlp_in"]
        ours = _read_by(mlp_norm(lm, layer), read, weight, bias)
        yield "what goes into the neurons is read of the MLP's norm", ours, x[name], None
    act = activation_function(lm, layer)
    fired = act(x["mlp_in"]) if gates is None else act(x["mlp_gate"]) * x["mlp_in"]
    yield "the neurons' activations follow from what goes into them", fired, x["neurons"], None


def _bias(lm: LanguageModel, layer: int, path: str) -> Tensor | None:
    return _bias_of(module_at(lm, layer, path))


def _bias_of(module: Any) -> Tensor | None:
    return weight_of(module, "bias") if getattr(module, "bias", None) is not None else None


def _written(
    lm: LanguageModel,
    layer: int,
    path: str,
    weight: Tensor,
    norm: Norm,
    x: Mapping[str, Tensor],
    site: str,
) -> Tensor:
    """What heads or neurons write to the residual stream, biases too: [token, d].

    Args:
        path: their projection.
        weight: of it, as `engine.weights` has it.
        norm: behind it.
        x: what stands at the block's places.
        site: theirs.
    """
    total = x[site].to(weight.dtype) @ weight
    bias = _bias(lm, layer, path)
    if bias is not None:
        total = total + written(lm, norm, bias)
    if norm.scaled:
        total = total * norm.scale(x[f"{site}_norm"])[:, None]
    return total if norm.bias is None else total + lm.parts.multiplier * norm.bias


def _read_by(norm: Norm, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a projection gives for a residual stream that a norm stands before: [token, output].

    Args:
        x: [token, d].
        weight: [output, d].
    """
    folded = norm.fold(weight)
    # the final norm and the unembedding may lie on two devices
    where = folded.device
    read = (x.to(where, folded.dtype) @ folded.T) * norm.scale(x).to(where)[:, None]
    for constant in (None if norm.bias is None else weight @ norm.bias.to(where), bias):
        read = read if constant is None else read + constant
    return read


def _of_logits(lm: LanguageModel, residual: Tensor, logits: Tensor) -> Claim:
    """That logits are what the final norm and the unembedding give."""
    config = lm.nn._module.config.get_text_config()
    residual = residual.to(lm.device)
    bias = _bias_of(lm.nn._module.get_submodule(lm.where.unembedding))
    ours = after_unembedding(config)(_read_by(final_norm(lm), residual, unembedding(lm), bias))
    return "the logits are read of the final norm", ours.to(logits.device), logits, None


def _check_heads(lm: LanguageModel, heads: int) -> None:
    """Check that slices of what goes into the heads' projection are heads, each one.

    What a head gives for the second of two tokens is a mean of its values, so it is a sum of what
    it gives for either token alone. A slice that is more than one head makes no such sum, and
    slices that always make the same one are of one head.
    """
    alike = True
    for layer, (values, given) in enumerate(_values(lm, heads)):
        weights = torch.linalg.lstsq(values, given, driver="gelsd").solution
        claim = "its heads stand side by side in what goes into their projection"
        ours, theirs = (x[..., 0] for x in (values @ weights, given))
        _hold(lm, f"in block {layer}", (claim, ours, theirs, None))
        pairs = weights[: heads // 2 * 2, :, 0].unflatten(0, (-1, 2))
        alike = alike and torch.allclose(pairs[:, 0], pairs[:, 1], atol=0.5 * _allowed(lm))
    if alike and heads > 1:
        raise refuse(
            lm.name,
            f"of the {heads} heads that its configuration has, neighbors attend alike in every "
            "block, so that they are parts of fewer",
        )


def _values(lm: LanguageModel, heads: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What heads give for the first and the second token alone, and for the second after the first.

    Yields, for every block, [head, z, 2] and [head, z, 1].
    """
    blocks, path = [block._module for block in lm.blocks], lm.parts.heads_out
    before: list[Tensor] = []
    both: list[Tensor] = []
    alone: list[Tensor] = []

    def look(_: int, seen: Seen) -> None:
        before.append(seen.before[1])
        both.append(seen.given[path][:2])

    with watched(blocks, look):
        run_tokens(lm.nn._module)
    # every block once more, given the second token alone
    with (
        _given(blocks, before),
        watched(blocks, lambda _, seen: alone.append(seen.given[path][0])),
    ):
        run_tokens(lm.nn._module)
    for (first, second), third in zip(both, alone, strict=True):
        values = torch.stack([first, third]).view(2, heads, -1).permute(1, 2, 0)
        yield values, second.view(heads, -1, 1)


@contextmanager
def _given(blocks: Any, states: list[Tensor]) -> Iterator[None]:
    """Give every block one residual stream [d] at all tokens."""

    def change(_module: Any, inputs: Any, named: Any, state: Tensor) -> Any:
        def new(x: Any) -> Any:
            return state.to(x).expand_as(x) if x is first else x

        first = next(x for x in (*inputs, *named.values()) if isinstance(x, Tensor))
        return tuple(map(new, inputs)), {key: new(x) for key, x in named.items()}

    handles = [
        block.register_forward_pre_hook(partial(change, state=state), with_kwargs=True)
        for block, state in zip(blocks, states, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
