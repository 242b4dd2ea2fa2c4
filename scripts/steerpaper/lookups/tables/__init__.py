"""The lookups study's tables: tidy, from what the stages wrote, with counts and intervals."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from steerpaper.engine.text import ModelFolder
from steerpaper.lookups.tables import ablations, heads
from steerpaper.lookups.tables import neurons as of_neurons
from steerpaper.lookups.tables.published import beside_published, read_published
from steerpaper.stats import Interval

# prompts a neuron on the page
SHOWN = 3


def lookups_tables(
    *,
    corpus: Iterable[Mapping[str, Any]],
    neurons: pd.DataFrame,
    tokens: pd.DataFrame,
    activations: pd.DataFrame,
    truncated: pd.DataFrame,
    attribution: pd.DataFrame,
    scores: pd.DataFrame,
    head_ablation: pd.DataFrame,
    neuron_ablation: pd.DataFrame,
    published: str,
    model: str,
    interval: Interval,
) -> dict[str, pd.DataFrame | str]:
    """All tables of the study, the page of neurons, and the published figures as LaTeX.

    Args:
        corpus: the train prompts' rows.
        published: the file of what the paper printed.
        model: the model's manifest.
    """
    folder = ModelFolder(model)
    wanted = set(activations["prompt_id"])
    ids = {row["id"]: row["ids"] for row in corpus if row["id"] in wanted}
    found: dict[str, pd.DataFrame] = {
        "token_blocks": of_neurons.token_blocks(tokens, folder.n_layers),
        "neurons": of_neurons.neuron_prompts(neurons, activations, ids, folder.decode),
        "prompt_lengths": of_neurons.prompt_lengths(truncated, neurons),
        "head_attribution": heads.attribution_map(attribution, neurons),
        "explanation_scores": heads.scores_by_kind(scores, neurons),
        "ablation_drops": ablations.ablation_drops(head_ablation, neuron_ablation),
    }
    found["explanations"] = heads.explanation_summary(found["explanation_scores"], interval)
    found["ablations"] = ablations.ablation_summary(found["ablation_drops"], interval)
    found["published"] = beside_published(
        read_published(published), found["explanations"], found["ablations"], folder.name
    )
    shown = found["published"].replace({"neurons": {"next_token": "next-token"}})
    texts = {
        "neurons.md": of_neurons.neuron_page(found["neurons"], SHOWN),
        "published.tex": shown.to_latex(index=False, na_rep="", float_format="%.3g", escape=True),
    }
    return {f"lookups_{name}": made for name, made in (found | texts).items()}
