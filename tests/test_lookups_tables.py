"""The lookups tables say what the stages found, and figures are drawn whatever is missing."""

import numpy as np
import pandas as pd
import pytest

from steerpaper.lookups import tables
from steerpaper.lookups.heads import PAIR, prompts_of_heads
from steerpaper.plots import lookups as plots

ATTRIBUTION = [*PAIR[:2], "split", "prompt_id", *PAIR[2:], "attribution", "active"]
STATISTICS = {"seed": 1, "resamples": 500, "confidence": 0.95}


def neurons():
    return pd.DataFrame(
        {
            "layer": [2, 2, 3, 3],
            "neuron": [5, 9, 4, 7],
            "kind": ["next_token", "random"] * 2,
            "token_id": [10, 11, 12, 13],
            "token": [" as", "x", " the", "#y`"],
            "congruence": [9.0, 1.0, 8.0, 2.0],
            "rank": [1, 1, 1, 1],
        }
    )


def scores():
    rows = []
    for pair, (layer, neuron, score, why) in enumerate(
        [(2, 5, 0.75, ""), (2, 5, 0.25, ""), (3, 4, 1.0, ""), (2, 9, np.nan, "one class")]
    ):
        counts = {"n_active": 2, "true_positives": 1, "n_inactive": 2, "true_negatives": 1}
        key = dict(zip(PAIR, (layer, neuron, 0, pair), strict=True))
        rows.append({**key, **counts, "unanswered": 1, "score": score, "left_out": why})
    return pd.DataFrame(rows)


def ablated(site, rows):
    generator = np.random.default_rng(0)
    unit = {"head_layer": 1, "head": 2} if site == "heads" else {}
    return pd.DataFrame(
        [
            {
                "layer": 2,
                "neuron": neuron,
                "kind": kind,
                **unit,
                "split": "test",
                "prompt_id": f"p{number}",
                "active": number % 2 == 0,
                "logprob": -1.0,
                "ablated_logprob": -1.0 - (number % 2 == 0) - generator.random() / 10,
                "drop": 0.1 * (number % 2 == 0),
            }
            for neuron, kind in ((5, "next_token"), (9, "random"))
            for number in range(rows)
        ]
        or [],
        columns=None
        if rows
        else [
            *PAIR[:2],
            "kind",
            *unit,
            "split",
            "prompt_id",
            "active",
            "logprob",
            "ablated_logprob",
            "drop",
        ],
    )


def test_every_block_has_its_share_of_tokens():
    tokens = pd.DataFrame(
        {"candidate": [True, True, False], "layer": [1, 3, 1], "congruence": [1.0, 2.0, 3.0]}
    )
    table = tables.token_blocks(tokens, 4)
    for name, n in (("all", 3), ("candidates", 2)):
        here = table[table["tokens"] == name]
        assert list(here["layer"]) == [0, 1, 2, 3]
        assert here["n"].sum() == n
        assert here["share"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("position", "text"), [(0, "»one« two three"), (1, "one »two« three"), (2, "one two »three«")]
)
def test_the_firing_token_is_marked_and_white_space_stays_outside(position, text):
    words = {1: "one", 2: " two", 3: " three"}
    assert tables.marked([1, 2, 3], position, lambda ids: "".join(words[i] for i in ids)) == text


def test_neurons_that_never_fire_keep_their_row_and_the_page_says_so():
    activations = pd.DataFrame(
        [(2, 5, "train", 1, "a", 1, 3.0), (2, 5, "test", 1, "b", 0, 9.0)],
        columns=["layer", "neuron", "split", "rank", "prompt_id", "position", "activation"],
    )
    ids = {"a": [1, 2, 3]}
    table = tables.neuron_prompts(neurons(), activations, ids, lambda ids: "".join(map(str, ids)))
    assert len(table) == 4
    assert table[table["neuron"] == 5]["prompt"].tolist() == ["1»2«3"]
    page = tables.neuron_page(table, 3)
    assert page.count("fires on no prompt") == 3
    assert "1. (3.00) 1»2«3" in page


def test_lengths_are_counted_up_to_the_firing_token():
    truncated = pd.DataFrame(
        [(2, 5, "train", "a", 3, 8, 4.0, 3.6)],
        columns=[
            *("layer", "neuron", "split", "prompt_id"),
            *("start", "end", "activation", "truncated_activation"),
        ],
    )
    (row,) = tables.prompt_lengths(truncated, neurons()).to_dict("records")
    assert (row["before"], row["after"]) == (8, 5)
    assert row["share_kept"] == pytest.approx(0.9)


def test_attribution_is_averaged_over_the_prompts_of_a_kind_and_of_single_neurons():
    attribution = pd.DataFrame(
        [
            (2, neuron, "train", prompt, 0, head, float(neuron + head), head == 1)
            for neuron in (5, 9)
            for prompt in ("a", "b")
            for head in (0, 1)
        ],
        columns=ATTRIBUTION,
    )
    table = tables.attribution_map(attribution, neurons()).set_index(["neurons", "head"])
    assert table.loc[("all next_token", 1), "attribution"] == 6
    assert table.loc[("all random", 1), "active"] == 1
    assert table.loc[("2.5 (' as')", 0), "n"] == 2
    plots.head_attribution(table.reset_index())


def test_the_summary_counts_what_was_left_out_and_why():
    table = tables.scores_by_kind(scores(), neurons())
    summary = tables.explanation_summary(table, **STATISTICS).set_index("neurons")
    next_token, random = summary.loc["next_token"], summary.loc["random"]
    assert (next_token["heads"], next_token["scored"], next_token["unanswered"]) == (3, 3, 3)
    assert next_token["mean"] == pytest.approx(2 / 3)
    # of the neurons' means 0.5 and 1
    assert next_token["neuron_mean"] == pytest.approx(0.75)
    assert random["left out: one class"] == 1
    assert random["scored"] == 0
    assert np.isnan(random["mean"])
    plots.explanation_scores(table, summary.reset_index())


@pytest.mark.parametrize("rows", [12, 0])
def test_ablations_are_summed_up_and_drawn_even_if_there_are_none(rows):
    drops = tables.ablation_drops(ablated("heads", rows), ablated("neurons", rows))
    summary = tables.ablation_summary(drops, **STATISTICS)
    assert len(summary) == 8
    keyed = summary.set_index(["ablated", "neurons", "measure"])
    test = keyed.loc[("head", "next_token", "logprob")]
    if rows:
        assert test["difference_mean"] == pytest.approx(1, abs=0.1)
        assert test["ks_statistic"] == 1
    else:
        assert test["n_active"] == 0
        assert np.isnan(test["ks_statistic"])
    plots.ablations(drops, summary)


def test_the_published_figures_stand_beside_ours():
    published = pd.DataFrame(
        [("head explanation score", "next_token", "GPT-2 small", 0.65, 0.19, np.nan)],
        columns=["quantity", "neurons", "model", "value", "sd", "p"],
    )
    explanations = tables.explanation_summary(
        tables.scores_by_kind(scores(), neurons()), **STATISTICS
    )
    ablations = tables.ablation_summary(
        tables.ablation_drops(ablated("heads", 12), ablated("neurons", 12)), **STATISTICS
    )
    table = tables.beside_published(published, explanations, ablations, "m")
    assert list(table["source"]) == ["published", *["ours"] * 4]
    assert table.iloc[1]["value"] == pytest.approx(2 / 3)
    plots.published(table)


def test_a_pair_has_its_own_prompts_in_order():
    attribution = pd.DataFrame(
        [
            (2, neuron, split, f"{split}{number}", 1, head, 0.0, head == number)
            for neuron in (5, 9)
            for split in ("test", "train")
            for number in (0, 1)
            for head in (0, 1)
        ],
        columns=ATTRIBUTION,
    )
    truncated = attribution.drop_duplicates(["neuron", "prompt_id"])
    truncated = truncated.drop(columns=["head_layer", "head", "attribution", "active"])
    truncated = truncated.assign(
        rank=[2, 1] * 4,
        start=0,
        end=3,
        text=truncated["neuron"].astype(str) + truncated["prompt_id"],
    )
    heads = pd.DataFrame([(2, 9, 1, 1)], columns=PAIR)
    rows = prompts_of_heads(heads, attribution, truncated)
    assert list(rows["text"]) == ["9train1", "9train0", "9test1", "9test0"]
    assert list(rows["active"]) == [True, False, True, False]
    assert prompts_of_heads(heads.iloc[:0], attribution, truncated).empty


def test_lengths_and_blocks_are_drawn():
    tokens = pd.DataFrame({"candidate": [True], "layer": [1], "congruence": [1.0]})
    plots.token_blocks(tables.token_blocks(tokens, 2))
    lengths = pd.DataFrame({"kind": ["random"] * 3, "before": [5, 6, 7], "after": [1, 2, 3]})
    plots.prompt_lengths(lengths)
    plots.prompt_lengths(lengths.iloc[:0])
