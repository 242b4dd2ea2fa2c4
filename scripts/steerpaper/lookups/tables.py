"""The lookups study's tables: tidy, from what the stages wrote, with counts and intervals."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from steerpaper.lookups.ablations import ablation_test
from steerpaper.lookups.heads import NEURON, PAIR
from steerpaper.stats import bootstrap_mean

KINDS = ("next_token", "random")
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
        token = _code(str(first["token"]))
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
            text = str(row.prompt).replace("|", "\\|").replace("<", "\\<").replace("`", "\\`")
            lines.append(f"{row.prompt_rank}. ({row.activation:.2f}) {text}")
        lines.append("")
    return "\n".join(lines)


def _code(token: str) -> str:
    fence = "``" if "`" in token else "`"
    return f"{fence}{token!r}{fence}"


def prompt_lengths(truncated: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """Tokens of every prompt up to the one at which the neuron fires, before and after truncation.

    Returns:
        layer, neuron, kind, split, prompt_id, before, after, share_kept (of the activation).
    """
    table = truncated.merge(neurons[[*NEURON, "kind"]], on=NEURON, validate="m:1")
    table["before"], table["after"] = table["end"], table["end"] - table["start"]
    table["share_kept"] = table["truncated_activation"] / table["activation"]
    return table[[*NEURON, "kind", "split", "prompt_id", "before", "after", "share_kept"]]


def attribution_map(attribution: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """Attribution of every head, averaged over the prompts of a kind's neurons, and of some alone.

    Shown alone are the first next-token neuron of every block.

    Returns:
        neurons (a kind, or "block.neuron (token)"), head_layer, head, n (prompts), attribution
        (mean), active (share of prompts).
    """
    table = attribution.merge(
        neurons[[*NEURON, "kind", "rank", "token"]], on=NEURON, validate="m:1"
    )
    groups = [(f"all {kind}", table[table["kind"] == kind]) for kind in KINDS]
    first = table[(table["kind"] == "next_token") & (table["rank"] == 1)]
    for (layer, neuron, token), rows in first.groupby([*NEURON, "token"], sort=True):
        groups.append((f"{layer}.{neuron} ({token!r})", rows))
    parts = []
    for name, rows in groups:
        means = rows.groupby(["head_layer", "head"]).agg(
            n=("attribution", "size"),
            attribution=("attribution", "mean"),
            active=("active", "mean"),
        )
        parts.append(means.reset_index().assign(neurons=name))
    columns = ["neurons", "head_layer", "head", "n", "attribution", "active"]
    return pd.concat(parts, ignore_index=True)[columns]


def scores_by_kind(scores: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """The head explanation scores with the kind and token of each head's neuron."""
    return scores.merge(neurons[[*NEURON, "kind", "token"]], on=NEURON, validate="m:1").sort_values(
        ["kind", *PAIR], ignore_index=True
    )


def explanation_summary(
    scores: pd.DataFrame, *, seed: int, resamples: int, confidence: float
) -> pd.DataFrame:
    """Mean head explanation score of each kind of neurons, and what was left out and why.

    A classifier that does not look at the text scores 0.5. Heads of one neuron share its prompts,
    so the interval is over neurons: of the mean of their heads' mean scores.

    Returns:
        neurons, heads, scored, one column a reason for being left out, judgements, unanswered,
        mean, sd (over heads), neurons_scored, neuron_mean, low, high.
    """
    reasons = sorted(set(scores["left_out"]) - {""})
    rows = []
    for kind in KINDS:
        here = scores[scores["kind"] == kind]
        scored = here.dropna(subset="score")
        of_neurons = scored.groupby(NEURON)["score"].mean().to_numpy()
        mean, low, high = _interval(of_neurons, seed, resamples, confidence)
        rows.append(
            {
                "neurons": kind,
                "heads": len(here),
                "scored": len(scored),
                **{f"left out: {why}": int((here["left_out"] == why).sum()) for why in reasons},
                "judgements": int(here[["n_active", "n_inactive", "unanswered"]].sum().sum()),
                "unanswered": int(here["unanswered"].sum()),
                "mean": scored["score"].mean(),
                "sd": scored["score"].std(),
                "neurons_scored": len(of_neurons),
                "neuron_mean": mean,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def _interval(
    values: np.ndarray, seed: int, resamples: int, confidence: float
) -> tuple[float, float, float]:
    if not len(values):
        return np.nan, np.nan, np.nan
    found = bootstrap_mean(values, seed=seed, resamples=resamples, confidence=confidence)
    return tuple(map(float, found))  # type: ignore[return-value]


def ablation_drops(heads: pd.DataFrame, neurons: pd.DataFrame) -> pd.DataFrame:
    """Every ablation's drop, in the token's probability and in its log-probability.

    Returns:
        ablated (head or neuron), kind, layer, neuron, head_layer, head (empty for neurons), split,
        prompt_id, active, probability (drop), logprob (drop, nats).
    """
    parts = []
    for name, table in (("head", heads), ("neuron", neurons)):
        drops = table.rename(columns={"drop": "probability"}).assign(ablated=name)
        drops["logprob"] = table["logprob"] - table["ablated_logprob"]
        parts.append(
            drops.reindex(
                columns=[
                    "ablated",
                    "kind",
                    *PAIR,
                    "split",
                    "prompt_id",
                    "active",
                    "probability",
                    "logprob",
                ]
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table.astype({"head_layer": "Int64", "head": "Int64", "active": bool})


def ablation_summary(
    drops: pd.DataFrame, *, seed: int, resamples: int, confidence: float
) -> pd.DataFrame:
    """The tests of all ablations: heads and neurons, next-token and random, in both measures.

    Returns:
        ablated, neurons (kind), measure (probability or logprob), and what `ablation_test` gives.
    """
    rows = []
    for ablated, unit in (("head", PAIR), ("neuron", NEURON)):
        for kind in KINDS:
            here = drops[(drops["ablated"] == ablated) & (drops["kind"] == kind)]
            for measure in ("probability", "logprob"):
                test = ablation_test(
                    here.assign(drop=here[measure]),
                    unit,
                    seed=seed,
                    resamples=resamples,
                    confidence=confidence,
                )
                rows.append({"ablated": ablated, "neurons": kind, "measure": measure, **test})
    return pd.DataFrame(rows)


def beside_published(
    published: pd.DataFrame, explanations: pd.DataFrame, ablations: pd.DataFrame, model: str
) -> pd.DataFrame:
    """The paper's figures and ours, one a row.

    Args:
        published: quantity, neurons, model, value, sd, p.
        explanations, ablations: the summaries.

    Returns:
        quantity, neurons, model, source (published or ours), n, value, sd, p.
    """
    scores = [
        {
            "quantity": "head explanation score",
            "neurons": row["neurons"],
            "n": row["scored"],
            "value": row["mean"],
            "sd": row["sd"],
        }
        for row in explanations.to_dict("records")
    ]
    heads = ablations[(ablations["ablated"] == "head") & (ablations["measure"] == "probability")]
    tests = [
        {
            "quantity": "head ablation KS statistic",
            "neurons": row["neurons"],
            "n": row["n_active"] + row["n_inactive"],
            "value": row["ks_statistic"],
            "p": row["ks_p"],
        }
        for row in heads.to_dict("records")
    ]
    ours = pd.DataFrame([*scores, *tests]).assign(model=model, source="ours")
    table = pd.concat([published.assign(source="published"), ours], ignore_index=True)
    table["n"] = table["n"].astype("Int64")
    columns = ["quantity", "neurons", "model", "source", "n", "value", "sd", "p"]
    return table.sort_values(
        ["quantity", "source", "neurons"], ascending=[False, False, True], kind="stable"
    )[columns]
