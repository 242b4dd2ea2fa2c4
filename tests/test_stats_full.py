"""Statistics agree with scipy's, or with answers known by construction."""

import numpy as np
import pandas as pd
import pytest
from makers import make_arrays
from scipy import stats as scipy_stats

from steerpaper import stats
from steerpaper.stats import Interval
from steerpaper.steering.conditions import AT_RESIDUAL_NORM, BEHAVIOR, KINDS, NO_LAYER, UNSTEERED
from steerpaper.steering.slopes import slopes
from steerpaper.steering.tables import effects
from steerpaper.steering.tables.rows import measured

INTERVAL = Interval(seed=1, resamples=4000, confidence=0.95)


def test_one_row_a_cluster_is_the_plain_bootstrap():
    values = np.random.default_rng(0).normal(size=(30, 2))
    plain = stats.mean_interval(values, INTERVAL)
    clustered = stats.clustered_interval(values, np.arange(30), INTERVAL)
    for one, another in zip(plain, clustered, strict=True):
        np.testing.assert_allclose(one, another)


def test_bootstrap_interval_equals_scipys():
    values = np.random.default_rng(1).exponential(size=60)
    _, low, high = stats.mean_interval(values, Interval(1, 20_000, 0.9))
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=2
    ).confidence_interval
    np.testing.assert_allclose([low, high], theirs, atol=0.015)


def test_a_weight_is_a_number_of_rows():
    generator = np.random.default_rng(2)
    values, clusters = generator.normal(size=20), generator.integers(5, size=20)
    weights = generator.integers(0, 4, size=20)
    short = stats.clustered_interval(values, clusters, INTERVAL, weights=weights)
    long = stats.clustered_interval(values.repeat(weights), clusters.repeat(weights), INTERVAL)
    np.testing.assert_allclose(short, long)


def test_clustered_interval_covers_the_mean_where_the_plain_one_does_not():
    # 15 clusters of 20 rows that share most of their noise: the true mean is 0
    generator = np.random.default_rng(3)
    clusters = np.arange(15).repeat(20)
    interval = Interval(1, 500, 0.95)
    covered = {"clustered": 0, "plain": 0}
    for _ in range(200):
        values = generator.normal(size=15)[clusters] + 0.1 * generator.normal(size=300)
        _, low, high = stats.clustered_interval(values, clusters, interval)
        covered["clustered"] += low <= 0 <= high
        _, low, high = stats.mean_interval(values, interval)
        covered["plain"] += low <= 0 <= high
    assert covered["clustered"] > 170
    assert covered["plain"] < 100


def test_order_of_rows_does_not_matter():
    generator = np.random.default_rng(4)
    values, clusters = generator.normal(size=40), generator.integers(8, size=40).astype(str)
    order = generator.permutation(40)
    np.testing.assert_allclose(
        stats.clustered_interval(values, clusters, INTERVAL),
        stats.clustered_interval(values[order], clusters[order], INTERVAL),
    )


def test_no_rows_give_not_a_number():
    found = stats.clustered_interval(np.zeros((0, 2)), np.zeros(0), INTERVAL)
    assert all(part.shape == (2,) and np.isnan(part).all() for part in found)
    weightless = stats.clustered_interval(np.ones(3), np.arange(3), INTERVAL, weights=np.zeros(3))
    assert all(np.isnan(part) for part in weightless)


def test_p_against_controls_is_the_two_sample_t_test_with_one_in_a_sample():
    generator = np.random.default_rng(5)
    controls = generator.normal(size=20)
    # Student's pooled test of one number against twenty: the one adds no degree of freedom
    pooled = scipy_stats.ttest_ind_from_stats(
        *(1.3, 0.0, 1), *(controls.mean(), controls.std(ddof=1), 20), equal_var=True
    ).pvalue
    assert stats.against_controls(1.3, controls) == pytest.approx(pooled)


@pytest.mark.parametrize("p_of", [stats.against_controls, stats.rank_p])
def test_p_against_controls_is_uniform_where_nothing_is_there(p_of):
    draws = np.random.default_rng(6).normal(size=(2000, 20))
    found = [p_of(draw[0], draw[1:]) for draw in draws]
    assert abs(np.mean(np.array(found) <= 0.05) - 0.05) < 0.015
    assert abs(np.mean(np.array(found) <= 0.5) - 0.5) < 0.04


def test_rank_p_has_a_floor_and_none_without_controls():
    controls = np.random.default_rng(7).normal(size=20)
    assert stats.rank_p(50.0, controls) == 1 / 21
    assert np.isnan(stats.rank_p(1.0, np.zeros(0)))
    assert np.isnan(stats.against_controls(1.0, np.zeros(1)))
    assert np.isnan(stats.against_controls(1.0, np.zeros(9)))


@pytest.mark.parametrize("n", [5, 12, 19])
def test_below_twenty_the_interval_is_students(n):
    values = np.random.default_rng(n).exponential(size=n)
    mean, low, high = stats.mean_interval(values, INTERVAL)
    theirs = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([mean, low, high], [values.mean(), *theirs])


def test_below_five_clusters_there_is_no_interval():
    rows = np.random.default_rng(9).normal(size=40)
    mean, low, high = stats.clustered_interval(rows, np.arange(40) % 4, INTERVAL)
    assert mean == pytest.approx(rows.mean())
    assert np.isnan([low, high]).all()
    assert np.isnan(stats.share_interval((rows > 0).astype(float), INTERVAL, np.arange(40) % 4)[1])


def test_share_interval_is_wilsons_and_never_of_width_zero():
    for hits in (0, 3, 12):
        values = (np.arange(12) < hits).astype(float)
        share, low, high = stats.share_interval(values, INTERVAL)
        theirs = scipy_stats.binomtest(hits, 12).proportion_ci(method="wilson")
        np.testing.assert_allclose([share, low, high], [hits / 12, *theirs], atol=1e-12)
        assert high > low


def test_share_of_rows_that_say_the_same_counts_the_clusters():
    once = (np.arange(12) < 5).astype(float)
    clustered = stats.share_interval(once.repeat(50), INTERVAL, np.arange(12).repeat(50))
    plain = stats.share_interval(once, INTERVAL)
    # the clusters' degrees of freedom cost a little
    assert clustered[2] - clustered[1] > plain[2] - plain[1]
    assert clustered[2] - clustered[1] < 1.2 * (plain[2] - plain[1])


def test_difference_of_shares_has_an_interval_where_nothing_changed():
    mean, low, high = stats.share_difference_interval(np.zeros(24), INTERVAL)
    assert mean == 0
    assert low < 0 < high


def test_benjamini_hochberg_equals_scipys():
    p = np.random.default_rng(8).uniform(size=25) ** 2
    np.testing.assert_allclose(stats.benjamini_hochberg(p), scipy_stats.false_discovery_control(p))


def test_holm_known_answer():
    # Holm 1979 by hand: 0.01·4, max(0.04, 0.02·3), max(., 0.03·2), max(., 0.04·1)
    p = np.array([0.04, 0.01, 0.03, 0.02])
    np.testing.assert_allclose(stats.holm(p), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(stats.holm(np.array([0.6, 0.7])), [1, 1])


def test_corrections_leave_out_what_is_not_a_number():
    p = np.array([0.01, np.nan, 0.04])
    for correct in (stats.holm, stats.benjamini_hochberg):
        found = correct(p)
        assert np.isnan(found[1])
        np.testing.assert_allclose(found[[0, 2]], correct(p[[0, 2]]))
    assert stats.holm(np.array([np.nan])).shape == (1,)


def test_slopes_equal_scipys_regression():
    generator = np.random.default_rng(9)
    multipliers, scores = np.array([-2.0, -1, 0, 0.5, 3]), generator.normal(size=(6, 5))
    theirs = [scipy_stats.linregress(multipliers, row).slope for row in scores]
    np.testing.assert_allclose(slopes(multipliers, scores), theirs)


def make_scores(slopes_of, n=24, noise=0.1):
    """Scores with a known slope per (layer, direction), the multipliers -1 and 1."""
    generator = np.random.default_rng(10)
    rows = []
    for item in range(n):
        own = {"prompt_id": f"p{item:02}", "matching": "AB"[item % 2], "split": "test"}
        base = generator.normal()
        unsteered = {"layer": NO_LAYER, "layers": "", "direction": UNSTEERED, "multiplier": 0.0}
        rows.append({**own, **unsteered, "value": base})
        for (layer, direction), effect in slopes_of.items():
            slope = effect + noise * generator.normal()
            row = {"layer": layer, "layers": str(layer), "direction": direction}
            for m in (-1.0, 1.0):
                rows.append({**own, **row, "multiplier": m, "value": base + m * slope})
    return pd.DataFrame(rows)


# eight controls of each kind, which differ by direction and not by item alone
SPREAD = np.random.default_rng(11).normal(0, 0.1, size=(2, 8))
EFFECTS = {
    (2, BEHAVIOR): 1.0,
    (5, BEHAVIOR): 0.0,
    **{
        (layer, f"{kind}-{number}"): SPREAD[place, number]
        for layer in (2, 5)
        for place, kind in enumerate(KINDS)
        for number in range(8)
    },
}


def test_a_steering_vector_is_told_from_controls_and_nothing_is_not():
    table = effects.steerability_table(make_scores(EFFECTS), INTERVAL).set_index("layer")
    found, nothing = table.loc[2], table.loc[5]
    assert found["slope"] == pytest.approx(1, abs=0.1)
    assert found["p"] < 0.001 < 0.05 < nothing["p"]
    assert found["p_rank"] == pytest.approx(1 / 9)
    assert nothing["p_rank"] > 1 / 9
    assert found["n"] == 24
    # no item is anti-steerable, and the interval is Wilson's
    assert (found["anti_steerable"], found["anti_low"]) == (0, 0)
    assert 0.1 < found["anti_high"] < 0.15
    assert nothing["anti_low"] < nothing["anti_steerable"] < nothing["anti_high"]
    assert 0.1 < found["anti_random"] < 0.9
    test = scipy_stats.ttest_1samp(one_slope(make_scores(EFFECTS), 2), 0)
    assert found["standardized"] == pytest.approx(test.statistic)


def one_slope(scores, layer):
    items = effects.item_slopes(scores)
    return items[(items["layer"] == layer) & (items["direction"] == BEHAVIOR)]["slope"]


def test_the_p_is_the_larger_of_both_kinds():
    controls = effects.controls_table(make_scores(EFFECTS), INTERVAL).set_index(["layer", "kind"])
    for p_labels in (1e-9, 0.7):
        table = effects.steerability_table(make_scores(EFFECTS), INTERVAL, p_labels)
        for row in table.itertuples():
            assert row.p_random == controls.loc[row.layer, "random"]["p"]
            assert (row.p_shuffled, row.p) == (p_labels, max(p_labels, row.p_random))
    # labels dealt anew are not normal: no t is made of them
    assert np.isnan(controls.loc[2, "shuffled"]["p"])
    spread = controls.loc[2, "shuffled"]
    assert (spread["low"], spread["high"]) == pytest.approx(
        (SPREAD[1].min(), SPREAD[1].max()), abs=0.06
    )
    row = controls.loc[2, "random"]
    assert (row["directions"], row["p_rank_least"], row["multipliers"]) == (8, 1 / 9, "-1 0 1")
    assert row["low"] < row["mean"] < row["high"] < row["slope"]
    assert row["p_normal"] > 0.01


def test_p_is_corrected_over_behaviours_and_contrasts_of_each_measure():
    p = [0.01, 0.04, 0.03, 0.2, np.nan]
    table = pd.DataFrame({"p": p + p, "measure": ["logit_diff"] * 5 + ["p_matching"] * 5})
    found = effects.corrected({"steerability": table, "other": table})["steerability"]
    for measure in ("logit_diff", "p_matching"):
        part = found[found["measure"] == measure]
        np.testing.assert_allclose(part["p_holm"], stats.holm(np.array(p)))
        np.testing.assert_allclose(part["p_bh"], stats.benjamini_hochberg(np.array(p)))


def test_slopes_are_compared_over_the_multipliers_that_all_directions_have():
    scores = make_scores(EFFECTS)
    # far out, the behaviour's response falls back: its own slope changes, the comparison must not
    far = scores[(scores["layer"] == 2) & (scores["direction"] == BEHAVIOR)]
    far = far.assign(multiplier=far["multiplier"] * 3, value=-far["value"])
    before, after = (
        effects.steerability_table(s, INTERVAL).set_index("layer").loc[2]
        for s in (scores, pd.concat([scores, far]))
    )
    assert after["p"] == before["p"]
    assert after["slope"] < before["slope"]


def test_without_controls_there_is_no_p_value():
    table = effects.steerability_table(make_scores({(2, BEHAVIOR): 1.0}), INTERVAL)
    columns = ["p", "p_rank", "anti_random", "anti_shuffled", "slope_residual"]
    assert table[columns].isna().all(axis=None)


def test_the_slope_at_the_residual_norm_is_measured_and_not_scaled():
    scores = make_scores({(2, BEHAVIOR): 1.0, (2, AT_RESIDUAL_NORM): 7.0})
    row = effects.steerability_table(scores, INTERVAL).iloc[0]
    assert row["slope_residual"] == pytest.approx(7, abs=0.1)
    assert row["slope_residual_low"] < row["slope_residual"] < row["slope_residual_high"]


def test_of_a_kind_of_control_the_dose_has_a_band_in_which_one_more_would_lie():
    table = effects.dose_table(make_scores(EFFECTS), "value", INTERVAL)
    assert set(table["direction"]) == {BEHAVIOR, *KINDS}
    row = table[(table["direction"] == "random") & (table["layer"] == 2)].set_index("multiplier")
    assert list(row.index) == [-1, 1]
    assert row["directions"].tolist() == [8, 8]
    inside = SPREAD[0] > row.loc[1, "change_low"] - 0.1
    assert inside.all()
    assert row.loc[1, "change"] == pytest.approx(SPREAD[0].mean(), abs=0.05)


def test_slopes_by_side_are_of_letters_and_there_are_none_of_texts():
    scores = make_scores(EFFECTS)
    sides = effects.sides_table(effects.item_slopes(scores), INTERVAL)
    assert sides["side"].tolist() == ["A", "B"] * 2
    assert sides["n"].tolist() == [12] * 4
    texts = effects.item_slopes(scores.assign(matching=None))
    assert effects.sides_table(texts, INTERVAL).empty


def test_item_slopes_average_to_the_tables_slope():
    scores = make_scores(EFFECTS)
    items = effects.item_slopes(scores)
    table = effects.slope_table(scores, INTERVAL).set_index("layer")
    means = items[items["direction"] == BEHAVIOR].groupby("layer")["slope"].mean()
    np.testing.assert_allclose(means.loc[table.index], table["slope"])


def in_nats(scores):
    """The scores as log-probabilities whose difference they are."""
    sides = {"logprob_matching": scores["value"] - 9.0, "logprob_other": -9.0}
    more = {"n_matching": 2, "n_other": 4, "ab_mass": 0.9, "norm": 1.0}
    return scores.drop(columns="value").assign(**sides, **more)


def test_tables_of_several_measures_hold_each_ones_and_say_which():
    scores = in_nats(make_scores(EFFECTS))
    both = pd.concat([scores.assign(split="dev"), scores])
    measures = ["logit_diff", "p_matching"]
    block = {"chosen": "on dev", "layers": [2]}
    alone, together = (
        effects.effect_tables(
            both, block, **make_arrays(items=24), interval=INTERVAL, measures=names
        )
        for names in (measures[:1], measures)
    )
    for name, table in together.items():
        # gradients are of the logit difference
        if name == "first_order":
            continue
        assert list(table["measure"].unique()) == measures
        first = table[table["measure"] == "logit_diff"]
        pd.testing.assert_frame_equal(
            first[alone[name].columns], alone[name], check_dtype=False, check_exact=True
        )
    changes = together["dose_response"]
    of_share = changes[(changes["measure"] == "p_matching") & (changes["direction"] == BEHAVIOR)]
    assert of_share["p_matching"].between(0, 1).all()
    assert of_share["logit_diff"].isna().all()
    share = measured(scores, "p_matching")
    np.testing.assert_allclose(
        share["value"],
        np.exp(scores["logprob_matching"])
        / (np.exp(scores["logprob_matching"]) + np.exp(scores["logprob_other"])),
    )


def test_without_dev_items_the_tables_of_dev_are_empty_and_the_others_the_same():
    scores = in_nats(make_scores(EFFECTS))
    both = pd.concat([scores.assign(split="dev"), scores])
    arrays, how = make_arrays(items=24), {"interval": INTERVAL, "measures": ["logit_diff"]}
    block = {"chosen": "by configuration", "layers": [2]}
    with_dev = effects.effect_tables(both, block, **arrays, **how)
    arrays["gradients"] = {**arrays["gradients"], "dev": arrays["gradients"]["dev"][:0]}
    without = effects.effect_tables(scores, block, **arrays, **how)
    for name, table in without.items():
        expected = with_dev[name]
        assert list(table.columns) == list(expected.columns)
        if name in ("layer_sweep", "heatmap"):
            assert table.empty
            continue
        if name == "first_order":
            expected = expected[expected["split"] == "test"].reset_index(drop=True)
        pd.testing.assert_frame_equal(table, expected)


def test_an_item_that_is_there_twice_is_refused():
    scores = make_scores(EFFECTS)
    with pytest.raises(ValueError, match="duplicate"):
        effects.item_slopes(pd.concat([scores, scores.tail(1)]))


def test_a_label_that_few_prompts_gave_has_no_interval_of_its_difference():
    values = np.random.default_rng(3).normal(size=(2, 30))
    weights = np.ones(30)
    rare = np.where(np.arange(30) < 4, 5.0, 0)
    mean, low, high = stats.difference_interval(values[0], weights, values[1], rare, INTERVAL)
    assert np.isfinite(mean)
    assert np.isnan([low, high]).all()
    more = np.where(np.arange(30) < 8, 5.0, 0)
    _, low, high = stats.difference_interval(values[0], weights, values[1], more, INTERVAL)
    # Student's t of eight prompts, though there are thirty
    assert low < values[0].mean() - values[1][:8].mean() < high
