"""The lookups tables say what the stages found, and figures are drawn whatever is missing."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from steerpaper.lookups.heads import PAIR, prompts_of_heads
from steerpaper.lookups.tables import ablations, heads, published
from steerpaper.lookups.tables import neurons as of_neurons
from steerpaper.plots import heads as head_plots
from steerpaper.plots import neurons as neuron_plots
from steerpaper.stats import Interval

ATTRIBUTION = [*PAIR[:2], "split", "prompt_id", *PAIR[2:], "attribution", "active"]
INTERVAL = Interval(seed=1, resamples=500, confidence=0.95)


def said(figure):
    """All texts in a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(Text))


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
    table = of_neurons.token_blocks(tokens, 4)
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
    assert (
        of_neurons.marked([1, 2, 3], position, lambda ids: "".join(words[i] for i in ids)) == text
    )


def test_neurons_that_never_fire_keep_their_row_and_the_page_says_so():
    activations = pd.DataFrame(
        [(2, 5, "train", 1, "a", 1, 3.0), (2, 5, "test", 1, "b", 0, 9.0)],
        columns=["layer", "neuron", "split", "rank", "prompt_id", "position", "activation"],
    )
    ids = {"a": [1, 2, 3]}
    table = of_neurons.neuron_prompts(
        neurons(), activations, ids, lambda ids: "".join(map(str, ids))
    )
    assert len(table) == 4
    assert table[table["neuron"] == 5]["prompt"].tolist() == ["1»2«3"]
    page = of_neurons.neuron_page(table, 3)
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
    (row,) = of_neurons.prompt_lengths(truncated, neurons()).to_dict("records")
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
    table = heads.attribution_map(attribution, neurons()).set_index(["neurons", "head"])
    assert table.loc[("all next_token", 1), "attribution"] == 6
    assert table.loc[("all random", 1), "active"] == 1
    assert table.loc[("2.5 (' as')", 0), "n"] == 2
    figure = head_plots.head_attribution(table.reset_index())
    shown = said(figure)
    assert "next-token neurons\nn = 2" in shown
    assert "2.5\n(' as')\nlargest 6" in shown
    # shares of prompts in percent: head 1 is always active, head 0 never
    drawn = figure.subfigs[0].axes[0].collections[0].get_array()
    np.testing.assert_array_equal(np.ravel(drawn), [0, 100])


def test_the_summary_counts_what_was_left_out_and_why():
    table = heads.scores_by_kind(scores(), neurons())
    summary = heads.explanation_summary(table, INTERVAL).set_index("neurons")
    next_token, random = summary.loc["next_token"], summary.loc["random"]
    assert (next_token["heads"], next_token["scored"], next_token["unanswered"]) == (3, 3, 3)
    assert next_token["mean"] == pytest.approx(2 / 3)
    # of the neurons' means 0.5 and 1
    assert next_token["neuron_mean"] == pytest.approx(0.75)
    assert random["left out: one class"] == 1
    assert random["scored"] == 0
    assert np.isnan(random["mean"])
    shown = said(head_plots.explanation_scores(table, summary.reset_index()))
    assert "next-token neurons: 3 of 3 heads have a score" in shown
    assert "random neurons: 0 of 1 heads have a score" in shown
    assert shown.count("no head has both classes") == 1
    # of two neurons there is no interval, and of none no number
    assert summary["flags"].to_dict() == {"next_token": "no interval", "random": ""}
    assert "have a score†" in shown
    assert shown.count("† no interval") == 1


@pytest.mark.parametrize("rows", [12, 0])
def test_ablations_are_summed_up_and_drawn_even_if_there_are_none(rows):
    drops = ablations.ablation_drops(ablated("heads", rows), ablated("neurons", rows))
    summary = ablations.ablation_summary(drops, INTERVAL)
    assert len(summary) == 8
    keyed = summary.set_index(["ablated", "neurons", "measure"])
    test = keyed.loc[("head", "next_token", "logprob")]
    if rows:
        assert test["difference_mean"] == pytest.approx(1, abs=0.1)
        assert test["ks_pooled"] == 1
    else:
        assert test["n_active"] == 0
        assert pd.isna(test["ks_pooled"])
    shown = said(head_plots.ablations(drops, summary))
    assert ("n = 6 active, 6 inactive\ndifference " in shown) == bool(rows)
    assert shown.count("nothing to ablate") == (0 if rows else 2)
    assert set(summary["flags"]) == ({"no interval"} if rows else {""})
    assert ("ablated†" in shown) == ("† no interval" in shown) == bool(rows)


def test_the_published_figures_stand_beside_ours():
    printed = pd.DataFrame(
        [("head explanation score", "next_token", "GPT-2 small", 0.65, 0.19, np.nan)],
        columns=["quantity", "neurons", "model", "value", "sd", "p"],
    )
    scored = heads.explanation_summary(heads.scores_by_kind(scores(), neurons()), INTERVAL)
    ablation = ablations.ablation_summary(
        ablations.ablation_drops(ablated("heads", 12), ablated("neurons", 12)), INTERVAL
    )
    table = published.beside_published(printed, scored, ablation, "m")
    assert list(table["source"]) == ["published", *["ours"] * 4]
    assert table.iloc[1]["value"] == pytest.approx(2 / 3)
    figure = head_plots.published(table)
    figure.draw_without_rendering()  # sets the ticks' texts
    shown = said(figure)
    assert "GPT-2 small, next-token" in shown
    assert "m, next-token" in shown
    # of random neurons there is no score, which stands where a bar would begin
    assert [text.get_text() for text in figure.axes[0].texts] == [" –", " 0.667", " 0.650"]
    assert [text.get_position()[0] for text in figure.axes[0].texts] == [
        *(0, pytest.approx(2 / 3), 0.65)
    ]


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
    chosen = pd.DataFrame([(2, 9, 1, 1)], columns=PAIR)
    rows = prompts_of_heads(chosen, attribution, truncated)
    assert list(rows["text"]) == ["9train1", "9train0", "9test1", "9test0"]
    assert list(rows["active"]) == [True, False, True, False]
    assert prompts_of_heads(chosen.iloc[:0], attribution, truncated).empty


def test_lengths_and_blocks_are_drawn():
    tokens = pd.DataFrame({"candidate": [True], "layer": [1], "congruence": [1.0]})
    figure = neuron_plots.token_blocks(of_neurons.token_blocks(tokens, 2))
    # all tokens, then candidates, each of both blocks in percent
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0, 100, 0, 100]
    assert "candidates (n = 1)" in said(figure)
    lengths = pd.DataFrame({"kind": ["random"] * 3, "before": [5, 6, 7], "after": [1, 2, 3]})
    shown = said(neuron_plots.prompt_lengths(lengths))
    assert "random neurons (n = 3)\nmedian 6 to 2 tokens" in shown
    assert "next-token" not in shown
    assert "no prompt was truncated" in said(neuron_plots.prompt_lengths(lengths.iloc[:0]))
