"""What a head or a neuron does for the next token: its contribution set to zero.

Neo et al. 2024 (arXiv 2402.15055), section 5: a head that looks up the context for a neuron should,
when it is taken away, lower the probability of the neuron's token on the prompts on which it is
active, and less on the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.batching import empty_prefix, filled, padded, run_batches
from steerpaper.engine.caches import Change, Site
from steerpaper.engine.forward import RESIDUAL, forward, heads_of_nothing, picked
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.weights import head_count
from steerpaper.engine.widths import columns_for, width_of
from steerpaper.lookups.heads import NEURON
from steerpaper.progress import progress
from steerpaper.seeds import stream
from steerpaper.workflow import counts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ablation:
    """One head or neuron, taken out of one prompt.

    Attributes:
        prompt: token ids.
        site: `heads` or `neurons`.
        layer, unit: the head or neuron.
        token: whose log-probability after the prompt's last token is asked for.
    """

    prompt: tuple[int, ...]
    site: str
    layer: int
    unit: int
    token: int


@dataclass(frozen=True)
class Effects:
    """Per ablation, float64 [ablation].

    Attributes:
        logprob: of the token, nothing taken out.
        ablated_logprob: of the token, the unit's contribution set to zero at every position.
        activation: what was set to zero, at the last token: a neuron's activation, or the norm of
            a head's output before the projection.
    """

    logprob: Floats
    ablated_logprob: Floats
    activation: Floats


def ablate(
    lm: LanguageModel, ablations: Sequence[Ablation], *, budget: int, published: bool = False
) -> Effects:
    """Take each head or neuron out of its prompt, many at a time.

    A prompt is run once as it is; each ablation enters behind the block before its own, with
    every row of a batch losing its own unit: a head's slice of what the output projection reads,
    or a neuron's activation.

    Args:
        budget: tokens a forward pass may hold.
        published: a head loses what it attends to and keeps what it gives always, which is no
            head's in TransformerLens (see `heads_of_nothing`).
    """
    keep = heads_of_nothing(lm) if published else None
    prompts = sorted({ablation.prompt for ablation in ablations})
    lm = lm.for_length(max(map(len, prompts), default=0))
    of_prompt: dict[tuple[int, ...], list[int]] = {prompt: [] for prompt in prompts}
    for number, ablation in enumerate(ablations):
        of_prompt[ablation.prompt].append(number)
    effects = Effects(*(np.zeros(len(ablations)) for _ in range(3)))
    # one column more is padding in every row (see engine.batching)
    widths = [width_of(len(prompt)) + 1 for prompt in prompts]

    def run(batch: list[int]) -> list[tuple[list[int], Tensor]]:
        chosen = [prompts[number] for number in filled(batch, widths[batch[0]])]
        mine = chosen[: len(batch)]
        numbers = [(row, n) for row, prompt in enumerate(mine) for n in of_prompt[prompt]]
        with counts.useful(len(batch)):
            return _ablate_batch(lm, chosen, widths[batch[0]], ablations, numbers, budget, keep)

    batches = run_batches(widths, budget, run, lm.together)
    for _, found in progress(batches, len(prompts), "ablations"):
        for numbers, (logprob, ablated, activation) in found:
            effects.logprob[numbers] = logprob.numpy()
            effects.ablated_logprob[numbers] = ablated.numpy()
            effects.activation[numbers] = activation.numpy()
    return effects


def _ablate_batch(
    lm: LanguageModel,
    prompts: Sequence[tuple[int, ...]],
    width: int,
    ablations: Sequence[Ablation],
    numbers: Sequence[tuple[int, int]],
    budget: int,
    keep: Tensor | None,
) -> list[tuple[list[int], Tensor]]:
    """Numbers of ablations, and their effects float64 [3, n]; `numbers` has (row, number)."""
    # left-padded: the last token of every prompt is in the last column
    ids, mask = padded(prompts, lm, width, side="left")
    of_site: dict[Site, list[tuple[int, int]]] = {}
    for row, number in numbers:
        site = (ablations[number].layer, ablations[number].site)
        of_site.setdefault(site, []).append((row, number))
    reads: dict[Site, Change] = dict.fromkeys(of_site, lambda x: x[:, -1].clone())
    # whole rows that are run anew do not enter at a block
    enters = lm.how.reuse
    reads |= {(layer - 1, RESIDUAL): torch.clone for layer, _ in of_site if layer and enters}
    clean, logprobs = forward(
        lm,
        ids,
        mask,
        empty_prefix(lm, len(prompts)).cache,
        reads=reads,
        logits=lambda x: x[:, -1].float().log_softmax(-1),
        # of fewer tokens the unembedding would sum in another order
        logits_of_last=min(width, columns_for(len(prompts))),
    )
    assert logprobs is not None
    counts.logits()
    found = []
    for site, here in sorted(of_site.items()):

        def run(
            batch: list[int], site: Site = site, here: list[tuple[int, int]] = here
        ) -> tuple[list[int], Tensor]:
            full = filled(batch, width)
            chosen = [here[entry][1] for entry in full]
            row = torch.tensor([here[entry][0] for entry in full], device=lm.device)
            before = picked(clean[site[0] - 1, RESIDUAL], row) if site[0] and enters else None
            own = [ablations[number] for number in chosen]
            kept = keep[site[0]] if keep is not None and site[1] == "heads" else None
            with counts.useful(len(batch)):
                lost, ablated = _without(
                    lm, ids[row], mask[row], site, own, picked(clean[site], row), before, kept
                )
                counts.logits()
            token = torch.tensor([ablation.token for ablation in own], device=lm.device)
            parts = [logprobs[row, token], ablated, lost.to(lm.device)]
            return chosen[: len(batch)], torch.stack(parts)[:, : len(batch)].double().cpu()

        batches = run_batches([width] * len(here), budget, run, lm.together)
        found += [result for _, result in batches]
    return found


def _without(
    lm: LanguageModel,
    ids: Tensor,
    mask: Tensor,
    site: Site,
    ablations: Sequence[Ablation],
    there: Tensor,
    before: Tensor | None,
    kept: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Run rows without their units: what was taken out [row], log-probability of the token [row].

    Args:
        ids, mask: [row, token], left-padded.
        there: [row, width of the site] what stands there at the last token.
        before: [row, token, d] the residual stream after the block before; None for block 0,
            and where rows are run anew.
        kept: [width of the site] what takes the place of what is taken out; None for zero.
    """
    kept = torch.zeros_like(there[0]) if kept is None else kept.to(there.device)
    token = torch.tensor([ablation.token for ablation in ablations], device=lm.device)
    unit = torch.tensor([ablation.unit for ablation in ablations], device=there.device)
    # [row, width of the site] true where the row's own unit is
    wide = there.shape[-1]
    size = wide // head_count(lm) if site[1] == "heads" else 1
    own = torch.arange(wide, device=there.device)[None] // size == unit[:, None]
    _, ablated = forward(
        lm,
        ids,
        mask,
        empty_prefix(lm, len(ablations)).cache,
        enter=(site[0] - 1, before) if before is not None else None,
        edits={site: lambda x: torch.where(own[:, None], kept, x)},
        logits=lambda x: x[:, -1].float().log_softmax(-1).gather(1, token[:, None])[:, 0],
        logits_of_last=min(ids.shape[1], columns_for(len(ablations))),
    )
    assert ablated is not None
    lost = (there - kept)[own].reshape(len(ablations), size).float()
    return lost[:, 0] if size == 1 else lost.norm(dim=-1), ablated


def ablations_of(
    table: pd.DataFrame,
    ids: Mapping[str, Sequence[int]],
    start: Sequence[int],
    *,
    site: str,
    unit: tuple[str, str],
) -> list[Ablation]:
    """An ablation for every row of a table.

    Args:
        table: token_id, prompt_id, start, end (tokens [start, end) of the prompt), and the unit.
        ids: the corpus prompts' token ids.
        start: what every prompt begins with (see `text.beginning`).
        unit: the columns that hold the unit's block and its number.
    """
    columns = ["token_id", "prompt_id", "start", "end", *unit]
    return [
        Ablation((*start, *ids[prompt][first:last]), site, layer, number, token)
        for token, prompt, first, last, layer, number in table[columns].itertuples(index=False)
    ]


def with_effects(table: pd.DataFrame, effects: Effects, rows: slice) -> pd.DataFrame:
    """A table with what its ablations did.

    Args:
        rows: which of all ablations are the table's.

    Returns:
        the table with activation, logprob, ablated_logprob, and drop, of the token's probability.
    """
    logprob, ablated = effects.logprob[rows], effects.ablated_logprob[rows]
    return table.assign(
        activation=effects.activation[rows],
        logprob=logprob,
        ablated_logprob=ablated,
        drop=np.exp(logprob) - np.exp(ablated),
    )


def other_prompts(truncated: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """For every neuron, truncated prompts of other neurons, as many as its own, drawn by seed.

    They are what the neuron's own, active prompts are compared with. A corpus prompt that is among
    the neuron's own is not drawn.

    Args:
        truncated: layer, neuron, split, prompt_id, start, end.

    Returns:
        the same columns; layer and neuron are the neuron's, the rest the drawn prompt's.
    """
    columns = [*NEURON, "split", "prompt_id", "start", "end"]
    drawn = []
    for key, own in truncated.groupby([*NEURON, "split"], sort=True):
        layer, neuron, split = int(own["layer"].iloc[0]), int(own["neuron"].iloc[0]), key[2]
        others = truncated[
            (truncated["split"] == split) & ~truncated["prompt_id"].isin(own["prompt_id"])
        ]
        # one suffix may be the truncated prompt of several neurons
        others = others[columns[2:]].drop_duplicates(ignore_index=True)
        generator = stream(seed, "other prompts", layer, neuron, split)
        order = generator.permutation(len(others))[: len(own)]
        drawn.append(others.loc[sorted(order)].assign(layer=layer, neuron=neuron)[columns])
    return pd.concat(drawn, ignore_index=True) if drawn else truncated[columns]
