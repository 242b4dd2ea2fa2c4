"""One forward pass: new tokens after a cache, edited and read at named places.

All reading of and writing to activations goes through nnsight, here and nowhere else.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.model import LanguageModel, part_of
from steerpaper.engine.rope import check_stretch
from steerpaper.engine.unembed import LateLogits, Logits

# a place in the model: (block, name), the names in the order in which a pass reaches them
Site = tuple[int, str]
INSIDE = ("heads", "mlp_norm", "mlp_gate", "mlp_in", "neurons")
RESIDUAL = "residual"  # the residual stream after the block
SITES = (*INSIDE, RESIDUAL)

Change = Callable[[Tensor], Tensor]


def picked(tensor: Tensor, *index: Tensor) -> Tensor:
    """A tensor's entries at an index of tensors, which may lie on another device."""
    return tensor[tuple(one.to(tensor.device) for one in index)]


class _SeenAll(Exception):  # noqa: N818
    """Ends a pass that has seen all that is asked for.

    nnsight's own `tracer.stop()` would do, but it leaves a cycle of references that keeps the
    tensors of this pass and of all its callers until the next garbage collection.
    """


def forward(
    lm: LanguageModel,
    ids: Tensor,
    mask: Tensor,
    cache: Any,
    *,
    enter: tuple[int, Tensor] | None = None,
    edits: Mapping[Site, Change] | None = None,
    reads: Mapping[Site, Change] | None = None,
    logits: Callable[[Logits], Tensor] | None = None,
    logits_of_last: int = 0,
) -> tuple[dict[Site, Tensor], Tensor | None]:
    """Run one forward pass of new tokens after a cache, and keep only what is asked for.

    Args:
        ids: [row, token] the new tokens' ids.
        mask: [row, cached + token] 1 for tokens, 0 for padding; positions are counted from it.
        cache: a transformers `DynamicCache` of the same rows; it grows by the new tokens.
        enter: (l, residual [row, token, d]): blocks 0..l do not run, block l's output is this.
        edits: per site, what takes the place of the tensor there, as a function of it.
        reads: per site, a function of the tensor there (as edited); the value is kept. Without
            `logits` the pass stops after the last site that is read.
        logits: a function of the logits [row, token, V]; without it no logits are computed. In
            bfloat16 and float16 these are float32 (see `engine.unembed`).
        logits_of_last: they are of so many last columns only; 0 for all.

    Returns:
        what `reads` gave per site, and what `logits` gave (None without).

    Raises:
        UserError: a row is longer than what keys and values of its beginning hold for.
    """
    if lm.stretch:
        check_stretch(lm.stretch, int(mask.sum(1).max()), lm.name)
    edits, reads = edits or {}, reads or {}
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    deepest = max((layer for layer, _ in reads), default=lm.n_layers - 1)
    last = lm.n_layers - 1 if logits else deepest
    first = enter[0] + 1 if enter else 0
    # in the order in which the pass reaches them
    reached = [(layer, name) for layer in range(first, last + 1) for name in SITES]
    kept = [site for site in reached if site in reads]
    touched = [site for site in reached if site in reads or site in edits]
    # a pass that nothing reads runs whole, for its keys and values
    whole = not kept or kept[-1] == (last, RESIDUAL)
    options = {"logits_to_keep": logits_of_last} if logits_of_last else {}
    saved: list[Tensor] = []
    with (
        suppress(_SeenAll),
        lm.nn.trace(inputs, past_key_values=cache, use_cache=True, **options),
    ):
        for layer in range(first):
            lm.blocks[layer].skip(enter[1])  # type: ignore[index]
        for site in touched:
            if site in edits:
                _write(lm, site, edits[site])
            if site in reads:
                saved.append(reads[site](_at(lm, site)))
        if logits and not lm.readout:
            saved.append(logits(lm.nn.output.logits))
        else:
            if logits and lm.readout:
                residual = lm.blocks[last].output[:, -logits_of_last:].to(lm.device)
                saved.append(logits(LateLogits(lm.readout, residual)))
            elif whole:
                # touching the block's output is what lets the pass reach it before it stops
                _ = lm.blocks[last].output
            raise _SeenAll
    return dict(zip(kept, saved, strict=False)), saved[-1] if logits else None


def heads_of_nothing(lm: LanguageModel) -> Tensor:
    """What every block's heads give for one token whose residual stream is zero: [L, width].

    The norm gives its bias alone and attention is on the one token, so this is what the heads give
    always, whatever they attend to: the value bias, and what the values make of the norm's bias.
    """
    ids = torch.tensor([[lm.pad]], device=lm.device)
    with lm.nn.trace({"input_ids": ids, "attention_mask": torch.ones_like(ids)}):
        saved = list().save()  # type: ignore[attr-defined]  # noqa: C408
        for layer in range(lm.n_layers):
            lm.blocks[layer].input[:] = 0
            saved.append(_at(lm, (layer, "heads"))[0, 0].clone().to(lm.device))
    return torch.stack(saved)


def _at(lm: LanguageModel, site: Site) -> Tensor:
    """The tensor at a site."""
    layer, name = site
    if name == RESIDUAL:
        found: Tensor = lm.blocks[layer].output
        return found
    module = _module(lm, site)
    found = module.output if name in ("mlp_gate", "mlp_in") else module.input
    return found


def _write(lm: LanguageModel, site: Site, change: Change) -> None:
    layer, name = site
    if name == RESIDUAL:
        lm.blocks[layer].output[:] = change(lm.blocks[layer].output)
    else:
        module = _module(lm, site)
        module.input[:] = change(module.input)


def _module(lm: LanguageModel, site: Site) -> Any:
    """The module at whose input (of `mlp_gate` and `mlp_in`: output) a site inside a block is."""
    layer, name = site
    parts = lm.where.parts
    assert parts is not None
    paths = {
        "heads": parts.heads_out,
        "mlp_norm": parts.mlp_norm,
        "mlp_gate": parts.mlp_gate,
        "mlp_in": parts.mlp_in,
        "neurons": parts.mlp_out,
    }
    return part_of(lm.blocks[layer], paths[name], lm.name)
