"""Neurons, their tokens and their prompts, as tables and as a page to read."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from steerpaper.lookups.heads import NEURON
from steerpaper.shown import as_code, as_markdown

# around the token at which a neuron fires, in a prompt shown to a person
MARKS = ("»", "«")


def token_blocks(tokens: pd.DataFrame, n_layers: int) -> pd.DataFrame:
    """In which block is the neuron most congruent with a token? Neo et al. 2024, section 3.

    Args:
        tokens: a row a token: candidate, layer (of the neuron most congruent with it), congruence.

    Returns:
        tokens (all or candidates), layer, n, share, median_congruence; every block has a row.
    """
    rows = []
    for name, some in (("all", tokens), ("candidates", tokens[tokens["candidate"]])):
        for layer in range(n_layers):
            here = some[some["layer"] == layer]["congruence"]
            rows.append(
                {
                    "tokens": name,
                    "layer": layer,
                    "n": len(here),
                    "share": len(here) / max(len(some), 1),
                    "median_congruence": here.median(),
                }
            )
    return pd.DataFrame(rows)


def marked(ids: Sequence[int], position: int, decode: Callable[[Sequence[int]], str]) -> str:
    """A prompt's text with the token at `position` between marks."""
    before, after = decode(ids[:position]), decode(ids[: position + 1])
    token = after[len(before) :] if after.startswith(before) else decode([ids[position]])
    # white space stays outside the marks, so that the text reads on
    lead = token[: len(token) - len(token.lstrip())]
    return f"{before}{lead}{MARKS[0]}{token[len(lead) :]}{MARKS[1]}{decode(ids[position + 1 :])}"


def neuron_prompts(
    neurons: pd.DataFrame,
    activations: pd.DataFrame,
    ids: Mapping[str, Sequence[int]],
    decode: Callable[[Sequence[int]], str],
) -> pd.DataFrame:
    """Every neuron with its token and its top train prompts, the firing token marked.

    Returns:
        layer, neuron, kind, rank, token, congruence, prompt_rank, prompt_id, activation, prompt; a
        neuron that fires on no prompt has one row without a prompt.
    """
    train = activations[activations["split"] == "train"].rename(columns={"rank": "prompt_rank"})
    table = neurons.merge(
        train[[*NEURON, "prompt_rank", "prompt_id", "position", "activation"]],
        on=NEURON,
        how="left",
    )
    table["prompt"] = [
        "" if pd.isna(position) else marked(ids[prompt], int(position), decode)
        for prompt, position in zip(table["prompt_id"], table["position"], strict=True)
    ]
    table["prompt"] = table["prompt"].str.split().str.join(" ")
    table = table.sort_values(["kind", "layer", "rank", "prompt_rank"], ignore_index=True)
    table["prompt_rank"] = table["prompt_rank"].astype("Int64")
    columns = [*NEURON, "kind", "rank", "token", "congruence"]
    return table[[*columns, "prompt_rank", "prompt_id", "activation", "prompt"]]


def neuron_page(table: pd.DataFrame, prompts: int) -> str:
    """The table of neurons as a Markdown page: a heading a neuron, its first prompts below."""
    lines = [
        "# Neurons and their top-activating prompts",
        "",
        f"The token at which the neuron fires most stands between {MARKS[0]} and {MARKS[1]}.",
        "",
    ]
    for (kind, layer, neuron), rows in table.groupby(["kind", *NEURON], sort=False):
        first = rows.iloc[0]
        name = "next-token" if kind == "next_token" else "random"
        token = as_code(repr(str(first["token"])))
        lines += [
            f"## Block {layer}, neuron {neuron} ({name}): {token}",
            "",
            f"Congruence {first['congruence']:.2f}.",
            "",
        ]
        shown = rows.dropna(subset="prompt_rank").head(prompts)
        if shown.empty:
            lines.append("It fires on no prompt of the corpus.")
        for row in shown.itertuples():
            text = as_markdown(str(row.prompt))
            lines.append(f"{row.prompt_rank}. ({row.activation:.2f}) {text}")
        lines.append("")
    return "\n".join(lines)


def prompt_lengths(truncated: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """Tokens of every prompt up to the one at which the neuron fires, before and after truncation.

    Returns:
        layer, neuron, kind, split, prompt_id, before, after, share_kept (of the activation).
    """
    table = truncated.merge(neurons[[*NEURON, "kind"]], on=NEURON, validate="m:1")
    table["before"], table["after"] = table["end"], table["end"] - table["start"]
    table["share_kept"] = table["truncated_activation"] / table["activation"]
    return table[[*NEURON, "kind", "split", "prompt_id", "before", "after", "share_kept"]]
