"""Head attribution: which attention heads drive a neuron (Neo et al. 2024, section 4).

A head's output enters the residual stream, the block's norm scales it, and the neuron reads it.
For the last token of a prompt, head h of block b and a neuron of block l,

    attribution = s · <z_h W_O[h], w>,

with z_h the head's output before its projection, w the neuron's input direction with the norm's
gain (and a LayerNorm's centring) folded in, and s > 0 the norm's scale at that token. W_O[h] w is
computed once a neuron and head, so that what a head writes [d] is never formed or stored.

Where a norm stands behind the heads (Gemma 2, OLMo 2), its gain is folded into W_O[h], and its
scale at that token, positive too, is multiplied in. Both scales are those of the pass as it was.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.batching import Ids, last_tokens, read_rows, run_rows
from steerpaper.engine.caches import Change, Site
from steerpaper.engine.forward import heads_of_nothing, picked
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.norms import Norm
from steerpaper.engine.text import beginning
from steerpaper.engine.weights import (
    activation_function,
    gates_in,
    heads_norm,
    heads_out,
    is_parallel,
    mlp_norm,
    neurons_in,
)
from steerpaper.progress import progress

Floats = NDArray[np.float32]

# a head is active on a prompt if its attribution is above the prompt's mean by so many deviations
DEVIATIONS = 2.0


def heads_before(lm: LanguageModel, layer: int, published: bool) -> int:
    """Blocks whose heads come before a neuron of block `layer`: 0 to this number, without it.

    The block's own heads count where its MLP reads what they wrote; `published` drops them.
    """
    return layer if published or is_parallel(lm) else layer + 1


def contract(heads: Tensor, direction: Tensor) -> Tensor:
    """W_O[h] w for every head and neuron.

    Args:
        heads: W_O [head, z, d].
        direction: [neuron, d].

    Returns:
        [neuron, head, z].
    """
    return torch.einsum("hzd,nd->nhz", heads, direction)


def slope_of(activation: torch.nn.Module, x: Tensor) -> Tensor:
    """Derivative of an elementwise activation function at x, the shape of x."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(point).sum(), point)
    return slope.detach()


def is_active(attribution: Floats) -> NDArray[np.bool_]:
    """Which heads are active on each prompt: above mean + 2 standard deviations over its heads.

    Args:
        attribution: [prompt, head].

    Returns:
        [prompt, head]; a prompt may have none.
    """
    exact = attribution.astype(np.float64)
    # the sample's deviation, as torch.std and so the authors have it (notebooks/
    # 4_head_attribution.ipynb at f97f993, cell 4)
    deviation = exact.std(axis=1, ddof=1) if exact.shape[1] > 1 else np.zeros(len(exact))
    threshold = exact.mean(axis=1) + DEVIATIONS * deviation
    active: NDArray[np.bool_] = exact > threshold[:, None]
    return active


def _readers(
    lm: LanguageModel, norm: Norm, matrices: Sequence[Tensor], blocks: Iterable[int]
) -> list[Tensor]:
    """What reads the heads of all blocks, per input matrix: [neuron, block, head, z].

    Args:
        norm: before the neurons.
        matrices: their input directions, [neuron, d].
    """
    return [
        torch.stack(
            [
                contract(heads_out(lm, block).float().to(matrix.device), norm.fold(matrix).float())
                for block in blocks
            ],
            dim=1,
        )
        for matrix in matrices
    ]


def _reads(
    lm: LanguageModel,
    layer: int,
    blocks: Iterable[int],
    at: tuple[Tensor, Tensor],
    gated: Tensor | None,
) -> dict[Site, Change]:
    """What is read of a pass: heads, what norms behind them read, what the MLP's norm reads, gates.

    Args:
        layer: the neurons' block.
        blocks: the heads'.
        at: (row, token) of every row's last token.
        gated: every row's neuron, of gated MLPs.
    """
    names = ["heads", "heads_norm"] if lm.parts.heads_norm else ["heads"]
    reads: dict[Site, Change] = {
        (block, name): lambda x: picked(x, *at) for block in blocks for name in names
    }
    reads[layer, "mlp_norm"] = lambda x: picked(x, *at)
    if gated is not None:
        reads[layer, "mlp_gate"] = lambda x: picked(x, *at, gated)
        reads[layer, "mlp_in"] = lambda x: picked(x, *at, gated)
    return reads


def head_attribution(
    lm: LanguageModel,
    layer: int,
    neurons: Sequence[int],
    rows: Sequence[Ids],
    *,
    bos: bool | str,
    budget: int,
    published: bool = False,
) -> tuple[Floats, Floats | None]:
    """Attribution of every head before a neuron, at the last token of the neuron's prompt.

    The input direction is W_in[i]; for a gated MLP the local gradient act'(g) u w_gate + act(g)
    w_up at that token, or with `published` w_up alone. `published` also takes a head's output
    without what it gives always (see `heads_of_nothing`), as TransformerLens does.

    Args:
        layer: the block of all the neurons.
        neurons: per row, the neuron.
        rows: token ids, without a beginning-of-sequence token.

    Returns:
        attribution [row, block, head], blocks from 0 (see `heads_before`); and the scale of the
        norm behind a block's heads that is multiplied in [row, block], None without such norms.
    """
    blocks = range(heads_before(lm, layer, published))
    # what a neuron reads is gathered where it is
    where = lm.device_of(layer)
    start = beginning(lm.tokenizer, bos)
    distinct = sorted(set(neurons))
    norm, function = mlp_norm(lm, layer), activation_function(lm, layer)
    gate = None if published else gates_in(lm, layer)
    matrices = [neurons_in(lm, layer)] if gate is None else [gate, neurons_in(lm, layer)]
    readers = _readers(lm, norm, [matrix[distinct] for matrix in matrices], blocks)
    # TransformerLens moves the value bias, and the first norm's, out of the heads into the block
    always = heads_of_nothing(lm)[: len(blocks)].float().to(where) if published else None
    place = {neuron: number for number, neuron in enumerate(distinct)}
    reader_of = torch.tensor([place[neuron] for neuron in neurons], device=where)
    neuron_of = torch.tensor(list(neurons), device=lm.device)
    found = np.zeros((len(rows), *readers[0].shape[1:3]), dtype=np.float32)
    behind = [heads_norm(lm, block) for block in blocks] if lm.parts.heads_norm else []
    scales = np.zeros((len(rows), len(behind)), dtype=np.float32)

    def look(items: list[int], ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        row, token = last_tokens(mask)
        mine, reader = neuron_of[items], reader_of[items]
        reads = _reads(lm, layer, blocks, (row, token), None if gate is None else mine)
        got = read_rows(lm, ids, mask, reads)
        z = torch.stack([got[block, "heads"].to(where) for block in blocks], dim=1)
        z = z.float()
        if always is not None:
            z = z - always
        z = z.reshape(len(items), *readers[0].shape[1:])
        parts = [(z * matrix[reader]).sum(dim=-1) for matrix in readers]
        if gate is not None:
            g, u = got[layer, "mlp_gate"].float(), got[layer, "mlp_in"].float()
            weights = [slope_of(function, g) * u, function(g)]
            parts = [
                part * weight[:, None, None] for part, weight in zip(parts, weights, strict=True)
            ]
        total = sum(parts) * norm.scale(got[layer, "mlp_norm"])[:, None, None]
        if not behind:
            return total.cpu(), None
        own = [one.scale(got[block, "heads_norm"]).to(where) for block, one in enumerate(behind)]
        scale = torch.stack(own, dim=1)
        return (total * scale[:, :, None]).cpu(), scale.cpu()

    batches = run_rows(lm, rows, budget, look, start)
    for items, (values, scale) in progress(batches, len(rows), f"head attribution, block {layer}"):
        found[items] = values[: len(items)].numpy()
        if scale is not None:
            scales[items] = scale[: len(items)].numpy()
    return found, scales if behind else None


def attribution_table(
    prompts: pd.DataFrame,
    attribution: Floats,
    active: NDArray[np.bool_],
    scales: Floats | None = None,
) -> pd.DataFrame:
    """A row a neuron, prompt and head: the prompt's keys, head_layer, head, attribution, active.

    With `scales` also heads_scale, that of the norm behind the heads of head_layer.

    Args:
        prompts: layer, neuron, split, prompt_id.
        attribution: [prompt, block, head].
        active: [prompt, block, head].
        scales: [prompt, block].
    """
    n, blocks, heads = attribution.shape
    keys = prompts[["layer", "neuron", "split", "prompt_id"]]
    table = keys.loc[keys.index.repeat(blocks * heads)].reset_index(drop=True)
    table["head_layer"] = np.tile(np.repeat(np.arange(blocks), heads), n)
    table["head"] = np.tile(np.arange(heads), n * blocks)
    table["attribution"] = attribution.ravel()
    table["active"] = active.ravel()
    if scales is not None:
        table["heads_scale"] = np.repeat(scales.ravel(), heads)
    return table
