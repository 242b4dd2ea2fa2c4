"""One forward pass: new tokens after a cache, edited and read at named places.

All reading of and writing to activations goes through nnsight, here and nowhere else.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.caches import Cache, Change, Ran, Replay, Site
from steerpaper.engine.model import LanguageModel, part_of
from steerpaper.engine.replay import groups
from steerpaper.engine.rope import check_stretch
from steerpaper.engine.unembed import LateLogits, Logits
from steerpaper.engine.widths import LEAST
from steerpaper.errors import UserError
from steerpaper.workflow import counts

RESIDUAL = "residual"  # the residual stream after the block; places inside it: `engine.parts`


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
    cache: Cache,
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
        cache: of the same rows; it grows by the new tokens.
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
    edits, reads = edits or {}, reads or {}
    if isinstance(cache, Replay):
        if enter:
            edits = {**edits, (enter[0], RESIDUAL): lambda _: enter[1]}
        new = Ran(ids, mask[:, -ids.shape[1] :], edits)
        cache.grow(new)
        if not reads and not logits:
            return {}, None
        anew = partial(_anew, lm, cache, new, reads, logits, logits_of_last)
        return lm.remote.ask(anew) if lm.remote else anew()
    if lm.stretch:
        check_stretch(lm.stretch, int(mask.sum(1).max()), lm.name)
    positions = _positions(mask)["position_ids"][:, -ids.shape[1] :]
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    options = {"past_key_values": cache.of, "use_cache": True}
    return _run(lm, inputs, options, enter, edits, reads, logits, logits_of_last)


def _anew(
    lm: LanguageModel,
    cache: Replay,
    new: Ran,
    reads: Mapping[Site, Change],
    logits: Callable[[Logits], Tensor] | None,
    logits_of_last: int,
) -> tuple[dict[Site, Tensor], Tensor | None]:
    """Run whole rows; what is read is of the new tokens, zero where there is padding."""
    rows, columns = new.ids.shape
    first = columns - logits_of_last if 0 < logits_of_last < columns else 0
    found: dict[Site, Tensor] = {}
    of_logits: Tensor | None = None
    # logits that are computed where they are looked at need the last block's output alone
    last = (lm.n_layers - 1, RESIDUAL)
    late, sites = bool(logits and lm.readout), {*reads, *([last] if logits and lm.readout else [])}
    for group in groups(cache, lm.how, lm.pad):
        mine, (row, column) = group.places(new)
        asked = column >= first
        wanted = mine[0][asked], mine[1][asked]
        options: dict[str, Any] = {"use_cache": False}
        if logits and not late and "logits_to_keep" in lm.takes:
            # products of fewer rows are summed in another order
            begin = max(0, min(int(wanted[1].min()), group.ids.shape[1] - LEAST))
            options["logits_to_keep"] = group.ids.shape[1] - begin
            wanted = wanted[0], wanted[1] - begin
        with counts.useful(counts.useful_of(group.numbers)):
            got, values = _run(
                lm,
                {"input_ids": group.ids, "attention_mask": group.mask, **_positions(group.mask)},
                options,
                None,
                {site: group.change(site) for site in group.sites()},
                dict.fromkeys(sites, partial(_taken, places=mine)),
                partial(_taken, places=wanted) if logits and not late else None,
                0,
            )
        for site, part in got.items():
            if site not in found:
                found[site] = part.new_zeros(rows, columns, *part.shape[1:])
            found[site][row, column] = part
        if values is not None:
            if of_logits is None:
                of_logits = values.new_zeros(rows, columns - first, values.shape[-1])
            of_logits[row[asked], column[asked] - first] = values
    looked: Logits | None = of_logits
    if lm.readout and late:
        looked = LateLogits(lm.readout, found[last][:, first:])
    read = {site: change(found[site]) for site, change in reads.items()}
    return read, logits(looked) if logits and looked is not None else None


def _taken(x: Any, places: tuple[Tensor, Tensor]) -> Tensor:
    taken: Tensor = x[places]
    return taken


def _positions(mask: Tensor) -> dict[str, Tensor]:
    return {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}


def _run(
    lm: LanguageModel,
    inputs: Mapping[str, Tensor],
    options: Mapping[str, Any],
    enter: tuple[int, Tensor] | None,
    edits: Mapping[Site, Change],
    reads: Mapping[Site, Change],
    logits: Callable[[Logits], Tensor] | None,
    logits_of_last: int,
) -> tuple[dict[Site, Tensor], Tensor | None]:
    """One pass of the model's own module over given inputs; the rest as in `forward`.

    Args:
        inputs: input_ids, attention_mask, position_ids, of which the model is given what it takes.
        options: what else its module is given.
    """
    deepest = max((layer for layer, _ in reads), default=lm.n_layers - 1)
    last = lm.n_layers - 1 if logits else deepest
    first = enter[0] + 1 if enter else 0
    # in the order in which the pass reaches them
    inside = any(name != RESIDUAL for _, name in (*reads, *edits))
    names = (*lm.parts.order, RESIDUAL) if inside else (RESIDUAL,)
    reached = [(layer, name) for layer in range(first, last + 1) for name in names]
    kept = [site for site in reached if site in reads]
    touched = [site for site in reached if site in reads or site in edits]
    # a pass that nothing reads runs whole, for its keys and values
    whole = not kept or kept[-1] == (last, RESIDUAL)
    if logits_of_last and "logits_to_keep" in lm.takes:
        options = {**options, "logits_to_keep": logits_of_last}
    given = {name: tensor for name, tensor in inputs.items() if name in lm.takes}
    new = inputs["attention_mask"][:, -inputs["input_ids"].shape[1] :]
    counts.begin(lm.name, lm.n_layers, new, last + 1 - first)
    if lm.remote:
        places = [(site, *place(lm, site)) for site in touched]
        return lm.remote.one_pass(given, options, places, lm.dtype, edits, reads), None
    rows = len(inputs["input_ids"])
    saved: list[Tensor] = []
    with suppress(_SeenAll), lm.nn.trace(given, **options):
        for layer in range(first):
            lm.blocks[layer].skip(_returned(lm, enter[1]))  # type: ignore[index]
        for site in touched:
            if site in edits:
                _write(lm, site, rows, edits[site])
            if site in reads:
                saved.append(reads[site](_at(lm, site, rows)))
        if logits and not lm.readout:
            saved.append(logits(lm.nn.output.logits[:, -logits_of_last:]))
        else:
            if logits and lm.readout:
                residual = _at(lm, (last, RESIDUAL), rows)[:, -logits_of_last:].to(lm.device)
                saved.append(logits(LateLogits(lm.readout, residual)))
            elif whole:
                # touching the block's output is what lets the pass reach it before it stops
                _ = lm.blocks[last].output
            raise _SeenAll
    counts.end()
    return dict(zip(kept, saved, strict=False)), saved[-1] if logits else None


def heads_of_nothing(lm: LanguageModel) -> Tensor:
    """What every block's heads give for one token whose residual stream is zero: [L, width].

    The norm gives its bias alone and attention is on the one token, so this is what the heads give
    always, whatever they attend to: the value bias, and what the values make of the norm's bias.
    """
    if lm.remote:
        raise UserError(
            f"model {lm.name} runs at NDIF (model.remote): what heads give always is not asked for "
            "there; run the model on this machine, or set published: false"
        )
    ids = torch.tensor([[lm.pad]], device=lm.device)
    # found by a pass of its own, which cannot be within another
    _ = lm.parts
    with lm.nn.trace({"input_ids": ids}):
        saved = list().save()  # type: ignore[attr-defined]  # noqa: C408
        for layer in range(lm.n_layers):
            lm.blocks[layer].input[:] = 0
            saved.append(_at(lm, (layer, "heads"), 1)[0, 0].clone().to(lm.device))
    return torch.stack(saved)


def _returned(lm: LanguageModel, residual: Tensor) -> Any:
    """What a block returns that gives this residual stream."""
    returns = lm.where.returns
    return (residual, *[None] * (returns - 1)) if returns else residual


def _at(lm: LanguageModel, site: Site, rows: int) -> Tensor:
    """The tensor at a site, [row, token, …]."""
    layer, name = site
    if name == RESIDUAL:
        output = lm.blocks[layer].output
        residual: Tensor = output[0] if lm.where.returns else output
        return residual
    module, returned = _module(lm, site)
    found: Tensor = module.output if returned else module.input
    if found.dim() == 2:  # rows and tokens in one axis, as OPT's MLP has them
        found = found.unflatten(0, (rows, -1))
    if lm.parts.fused and returned:
        gate, past = found.chunk(2, dim=-1)
        found = gate if name == "mlp_gate" else past
    return found


def place(lm: LanguageModel, site: Site) -> tuple[tuple[str, str, str], int]:
    """Where a site is, for who has the model's names alone, and the width of what stands there.

    Returns:
        (path from the model, `input` or `output`, what of it), and the last axis. Of several values
        it is the `first`, of a projection to both gate and input the `gate` or the `past`.
    """
    layer, name = site
    if name == RESIDUAL:
        path = f"{lm.where.blocks}.{layer}"
        return (path, "output", "first" if lm.where.returns else ""), lm.width
    module, returned = _module(lm, site)
    width, take = lm.width, ""
    if not name.endswith("_norm"):
        # [input, output] as GPT-2's Conv1D has them, a Linear the other way round
        sizes = module.weight.shape[:: -1 if isinstance(module._module, torch.nn.Linear) else 1]
        width = sizes[returned]
    if lm.parts.fused and returned:
        width, take = width // 2, "gate" if name == "mlp_gate" else "past"
    return (module.path.removeprefix("model."), "output" if returned else "input", take), width


def _write(lm: LanguageModel, site: Site, rows: int, change: Change) -> None:
    here = _at(lm, site, rows)
    here[:] = change(here)


def _module(lm: LanguageModel, site: Site) -> tuple[Any, bool]:
    """The module at which a site inside a block is, and whether it is what that returns."""
    layer, name = site
    path, returned = lm.parts.places()[name]
    return part_of(lm.blocks[layer], path, lm.name), returned
