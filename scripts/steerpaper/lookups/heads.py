"""Which neuron-head pairs are explained and ablated, and on which prompts each head is active."""

import pandas as pd

from steerpaper.seeds import stream

NEURON = ["layer", "neuron"]
PAIR = [*NEURON, "head_layer", "head"]


def choose_heads(
    attribution: pd.DataFrame, *, share: tuple[float, float], per_neuron: int | None, seed: int
) -> tuple[pd.DataFrame, int]:
    """Neuron-head pairs whose head is active on a middling share of the neuron's train prompts.

    Neo et al. 2024 (arXiv 2402.15055), section 4: a head that is active on all or on none of the
    prompts cannot be explained by a contrast. The test prompts have no say in the choice.

    Args:
        attribution: layer, neuron, split, prompt_id, head_layer, head, active.
        share: lowest and highest share of active train prompts, both included.
        per_neuron: at most so many heads a neuron, drawn by seed; None takes all.

    Returns:
        layer, neuron, head_layer, head, train_prompts, train_active; and how many pairs the share
        allowed before the draw.
    """
    train = attribution[attribution["split"] == "train"]
    pairs = (
        train.groupby(PAIR, sort=True)["active"]
        .agg(train_prompts="size", train_active="sum")
        .reset_index()
    )
    active_share = pairs["train_active"] / pairs["train_prompts"]
    pairs = pairs[active_share.between(*share)].reset_index(drop=True)
    allowed = len(pairs)
    if per_neuron is not None:
        kept: list[int] = []
        for _, of_neuron in pairs.groupby(NEURON, sort=True):
            layer, neuron = (int(of_neuron[key].iloc[0]) for key in NEURON)
            order = stream(seed, "heads", layer, neuron).permutation(len(of_neuron))
            kept += sorted(of_neuron.index[order[:per_neuron]])
        pairs = pairs.loc[kept].reset_index(drop=True)
    return pairs, allowed


def prompts_of_heads(
    heads: pd.DataFrame, attribution: pd.DataFrame, truncated: pd.DataFrame
) -> pd.DataFrame:
    """The truncated prompts of every chosen pair, and whether the head is active on each.

    Args:
        heads: one row a pair: layer, neuron, head_layer, head.
        attribution: layer, neuron, split, prompt_id, head_layer, head, active.
        truncated: layer, neuron, split, prompt_id, rank, start, end, text.

    Returns:
        one row a pair and prompt: layer, neuron, head_layer, head, split, rank, prompt_id, start,
        end, text, active, in the order of the pairs, train before test, highest rank first.
    """
    prompt = [*NEURON, "split", "prompt_id"]
    rows = (
        heads[PAIR]
        .merge(attribution[[*prompt, "head_layer", "head", "active"]], on=PAIR, how="left")
        .merge(truncated[[*prompt, "rank", "start", "end", "text"]], on=prompt, validate="m:1")
    )
    rows["active"] = rows["active"].astype(bool)
    rows = rows.sort_values([*PAIR, "split", "rank"], ascending=[True] * 4 + [False, True])
    columns = [*PAIR, "split", "rank", "prompt_id", "start", "end", "text", "active"]
    return rows[columns].reset_index(drop=True)
