"""Ablations equal one hook on one prompt at a time; their statistics are scipy's."""

import numpy as np
import pandas as pd
import plain_lookups as plain
import pytest
from scipy.stats import ks_2samp, sem, t

from steerpaper.engine.text import beginning
from steerpaper.engine.weights import head_count, neurons_out
from steerpaper.lookups.ablations import (
    Ablation,
    ablate,
    ablations_of,
    other_prompts,
    with_effects,
)
from steerpaper.lookups.tables.ablations import ablation_effects, ks_over_units, ks_pooled
from steerpaper.stats import Interval

PROMPTS = [(5, 6, 7, 8), (9, 10), (11, 12, 13, 14, 15, 16, 17), (18,), (19, 20, 21, 22, 5)]


def make_ablations(site, units):
    """Every prompt with units of several blocks, the first and last among them."""
    generator = np.random.default_rng(0)
    return [
        Ablation(prompt, site, layer, int(generator.integers(units)), int(generator.integers(600)))
        for prompt in PROMPTS
        for layer in (0, 2, 3, 2)
    ]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "mistral", "qwen2"])
@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_ablations_equal_one_hook_at_a_time(load_tiny, name, site):
    check_ablations(load_tiny(name), site)


@pytest.mark.long
@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_the_default_models_ablations_equal_one_hook_at_a_time(default_model, site):
    check_ablations(default_model, site)


def check_ablations(lm, site):
    units = head_count(lm) if site == "heads" else len(neurons_out(lm, 0))
    ablations = make_ablations(site, units)
    effects = ablate(lm, ablations, budget=20)
    expected = np.array([plain.ablation(lm, ablation, units) for ablation in ablations])
    got = np.column_stack([effects.logprob, effects.ablated_logprob, effects.activation])
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 1e-3


def test_ablations_do_not_depend_on_the_batch(load_tiny):
    lm = load_tiny("llama")
    ablations = [
        *make_ablations("heads", head_count(lm)),
        *make_ablations("neurons", len(neurons_out(lm, 0))),
    ]
    one = ablate(lm, ablations, budget=1)
    other = ablate(lm, ablations[::-1], budget=10_000)
    for key in ("logprob", "ablated_logprob", "activation"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key)[::-1])


@pytest.fixture
def truncated():
    """Three neurons with four prompts a split; neighbours share a corpus prompt."""
    return pd.DataFrame(
        [
            {
                "layer": 3,
                "neuron": neuron,
                "split": split,
                "prompt_id": f"{split}-{neuron * 3 + number}",
                "start": neuron,
                "end": 9,
            }
            for neuron in range(3)
            for split in ("train", "test")
            for number in range(4)
        ]
    )


def test_a_neurons_other_prompts_are_none_of_its_own_and_as_many(truncated):
    others = other_prompts(truncated, seed=1)
    drawn_for = dict(list(others.groupby(["layer", "neuron", "split"])))
    for (layer, neuron, split), own in truncated.groupby(["layer", "neuron", "split"]):
        drawn = drawn_for[layer, neuron, split]
        assert len(drawn) == len(own)
        assert not set(drawn["prompt_id"]) & set(own["prompt_id"])
        assert set(drawn["prompt_id"].str.split("-").str[0]) == {split}
    pd.testing.assert_frame_equal(others, other_prompts(truncated, seed=1))
    assert not others.equals(other_prompts(truncated, seed=2))


def test_a_neuron_alone_has_no_other_prompts(truncated):
    assert other_prompts(truncated.query("neuron == 0"), seed=1).empty


def test_a_tables_rows_are_ablated_at_their_own_tokens(load_tiny):
    lm = load_tiny("llama")
    ids = {"a": [5, 6, 7, 8, 9, 10], "b": [11, 12, 13, 14]}
    table = pd.DataFrame(
        {
            "prompt_id": ["b", "a", "a"],
            "start": [1, 0, 2],
            "end": [4, 3, 6],
            "token_id": [20, 21, 22],
            "head_layer": [0, 2, 1],
            "head": [3, 1, 0],
        }
    )
    start = beginning(lm.tokenizer, True)
    made = ablations_of(table, ids, start, site="heads", unit=("head_layer", "head"))
    got = with_effects(table, ablate(lm, [made[0], *made], budget=64), slice(1, None))
    for row in got.itertuples():
        prompt = (lm.tokenizer.bos_token_id, *ids[row.prompt_id][row.start : row.end])
        ablation = Ablation(prompt, "heads", row.head_layer, row.head, row.token_id)
        clean, without, norm = plain.ablation(lm, ablation, 4)
        assert row.logprob == pytest.approx(clean, abs=1e-4)
        assert row.ablated_logprob == pytest.approx(without, abs=1e-4)
        assert row.drop == pytest.approx(np.exp(clean) - np.exp(without), abs=1e-5)
        assert row.activation == pytest.approx(norm, abs=1e-4)


def drops(shift, units=30, prompts=20, seed=0):
    """Drops of known difference between active and inactive prompts."""
    generator = np.random.default_rng(seed)
    table = pd.DataFrame(
        [(u, p < prompts // 2) for u in range(units) for p in range(prompts)],
        columns=["unit", "active"],
    )
    noise = generator.normal(size=len(table)) + np.repeat(generator.normal(size=units), prompts)
    return table.assign(drop=noise + shift * table["active"])


INTERVAL = Interval(seed=1, resamples=2000, confidence=0.95)


def test_the_papers_test_is_of_one_mean_a_unit_and_class_over_test_prompts():
    test, train = drops(1.0).assign(split="test"), drops(9.0, seed=1).assign(split="train")
    found = ks_over_units(pd.concat([test, train]), ["unit"])
    means = test.groupby(["unit", "active"])["drop"].mean()
    expected = ks_2samp(means.xs(True, level="active"), means.xs(False, level="active"))
    assert (found["ks"], found["ks_p"]) == (expected.statistic, expected.pvalue)
    assert (found["ks_n"], found["ks_n_active"], found["ks_n_inactive"]) == (30, 30, 30)
    # all prompts together are another statistic
    assert ks_pooled(test) != found["ks"]
    assert (
        ks_pooled(test)
        == ks_2samp(test["drop"][test["active"]], test["drop"][~test["active"]]).statistic
    )
    # of few units there is none
    few = test[test["unit"] < 4]
    assert np.isnan(ks_over_units(few, ["unit"])["ks"])


def test_the_papers_p_is_even_where_nothing_is_there_and_the_pooled_one_is_not():
    found = {"units": [], "pooled": []}
    for seed in range(200):
        generator = np.random.default_rng(seed)
        # a unit's active prompts share what its inactive ones share among themselves
        table = pd.DataFrame(
            [(u, p % 2 == 0) for u in range(12) for p in range(20)], columns=["unit", "active"]
        )
        shared = generator.normal(size=(12, 2))
        table["drop"] = shared[table["unit"], table["active"].astype(int)]
        table["drop"] += 0.1 * generator.normal(size=len(table))
        table["split"] = "test"
        found["units"].append(ks_over_units(table, ["unit"])["ks_p"])
        sides = (table["drop"][table["active"] == side] for side in (True, False))
        found["pooled"].append(ks_2samp(*sides).pvalue)
    assert np.mean(np.array(found["units"]) < 0.05) < 0.09
    assert np.mean(np.array(found["pooled"]) < 0.05) > 0.5


def test_the_effect_is_recovered():
    table = drops(1.0)
    found = ablation_effects(table, ["unit"], INTERVAL)
    assert (found["n_active"], found["n_inactive"], found["units"]) == (300, 300, 30)
    assert found["difference_low"] < 1.0 < found["difference_high"]
    # units differ, the difference within a unit does not: its interval is the narrow one
    width = {k: found[f"{k}_high"] - found[f"{k}_low"] for k in ("active", "difference")}
    assert width["difference"] < width["active"] / 2


def test_intervals_are_those_of_students_t_on_normal_data():
    # the percentile bootstrap is a little narrow with few units: it covers 93% where t covers 95%
    for seed in range(10):
        table = drops(0.5, units=100, seed=seed)
        found = ablation_effects(table, ["unit"], INTERVAL)
        means = table.groupby(["unit", "active"])["drop"].mean()
        difference = means.xs(True, level="active") - means.xs(False, level="active")
        low, high = t.interval(0.95, 99, difference.mean(), sem(difference))
        assert found["difference_mean"] == pytest.approx(difference.mean())
        assert found["difference_low"] == pytest.approx(low, abs=(high - low) / 20)
        assert found["difference_high"] == pytest.approx(high, abs=(high - low) / 20)


def test_with_one_class_or_nothing_the_numbers_are_missing_not_wrong():
    one_class = drops(0.0).query("active")
    for table in (one_class, one_class.iloc[:0]):
        found = ablation_effects(table, ["unit"], INTERVAL)
        assert found["units"] == 0
        assert found["n_inactive"] == 0
        assert np.isnan(found["difference_mean"])
        assert np.isnan(
            [ks_pooled(table), ks_over_units(table.assign(split="test"), ["unit"])["ks"]]
        ).all()
