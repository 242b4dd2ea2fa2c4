"""Numbers that are none: refused where they are written, and never a p, a share or a cosine."""

import numpy as np
import pandas as pd
import pytest
import torch
from makers import (
    INTERVAL,
    make_convergence,
    make_cost,
    make_effects,
    make_first_order,
    make_logprobs,
    make_projection,
    make_reasoning,
    make_scores,
    make_steerability,
    make_system_prompts,
)
from matplotlib.text import Text

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.errors import UserError
from steerpaper.finite import finite
from steerpaper.lookups.tables.ablations import ablation_effects, ks_over_units, ks_pooled
from steerpaper.lookups.top_activations import Top, top_table
from steerpaper.plots import (
    conditions,
    convergence,
    effects,
    fixed_completions,
    geometry,
    heads,
    texts,
    transfer,
)
from steerpaper.plots.style import save
from steerpaper.stats import (
    against_controls,
    clustered_interval,
    difference_interval,
    mean_interval,
    rank_p,
)
from steerpaper.steering.choose import best_block, swept_slopes
from steerpaper.steering.conditions import BEHAVIOR, UNSTEERED
from steerpaper.steering.convergence import convergence as convergence_draws
from steerpaper.steering.convergence import cosines
from steerpaper.steering.scores import write_scores
from steerpaper.steering.slopes import anti_steerable
from steerpaper.steering.tables.cost import cost_table
from steerpaper.steering.tables.effects import change_table, steerability_table
from steerpaper.steering.tables.estimators import estimators_cosine
from steerpaper.steering.tables.latex import Headline, latex_table
from steerpaper.steering.tables.rows import measured
from steerpaper.steering.tables.transfer import slopes_by_direction
from steerpaper.steering.vectors import cosine

NOT_FINITE = [np.nan, np.inf, -np.inf]

# where scores are written


def scores_of(value):
    """Two rows of scores; the second's log-probability of the other answer is `value`."""
    row = {"behavior": "tea", "contrast": "answers", "direction": BEHAVIOR, "layer": 2}
    row |= {"layers": "2+3", "logprob_matching": -1.0, "logprob_other": -2.0}
    return pd.DataFrame(
        [
            {**row, "prompt_id": "tea-1", "multiplier": 1.0},
            {**row, "prompt_id": "tea-2", "multiplier": 64.0, "logprob_other": value},
        ]
    )


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_score_that_is_not_finite_is_refused_and_nothing_is_written(value, tmp_path):
    path = tmp_path / "tea.sweep.parquet"
    with pytest.raises(UserError) as raised:
        write_scores(path, scores_of(value))
    said = str(raised.value)
    assert said.startswith(f"{path}: logprob_other is {value}")
    for part in ("behaviour tea", "prompt tea-2", "block 2+3", "multiplier 64", "1 of 2 rows"):
        assert part in said
    for way_out in ("dtype: float32 or bfloat16", "lower the multipliers"):
        assert way_out in said
    assert not list(tmp_path.iterdir())
    write_scores(path, scores_of(-3.0))
    assert path.exists()


def test_prompts_that_could_not_be_had_need_no_score(tmp_path):
    note = {"behavior": "tea", "direction": UNSTEERED, "layers": "", "note": "not with this model"}
    write_scores(tmp_path / "a.parquet", pd.concat([scores_of(-1.0), pd.DataFrame([note])]))
    write_scores(tmp_path / "b.parquet", pd.DataFrame([note]))


def test_a_table_of_finite_numbers_is_handed_through():
    table = scores_of(-1.0)
    assert finite("a", table, ["logprob_other"]) is table


def test_a_logit_that_is_not_a_number_ends_sampling(load_tiny):
    lm = load_tiny("llama")
    vectors = {BEHAVIOR: np.full((lm.n_layers, lm.width), np.nan)}
    steered = Request([1, 2, 3], Condition((1,), BEHAVIOR, 9.0), None)
    with pytest.raises(UserError, match=r"block 1, multiplier 9\): after block 1 the residual"):
        complete(lm, [Request([1, 2], None, None), steered], vectors, Decoding(3, 1.0, 1.0, 256))


def test_an_activation_that_is_not_a_number_is_no_prompt_left_out():
    top = Top(np.array([[np.nan, 1.0, -np.inf]]), np.array([[0, 1, 1]]), np.zeros((1, 3), int))
    table = top_table(top, {0: [5]}, {0: "a", 1: "b"}, "train")
    assert list(table["prompt_id"]) == ["a", "b"]
    with pytest.raises(UserError, match=r"activation is nan \(prompt a, block 0, neuron 5"):
        finite("part.parquet", table, ["activation"])


# statistics


@pytest.mark.parametrize("value", NOT_FINITE)
def test_means_and_intervals_of_what_is_not_finite_are_empty(value):
    values = np.array([[1.0, 1.0], [2.0, value], *[[3.0, 3.0]] * 5])
    names = np.arange(len(values))
    ones = np.ones(len(values))
    for found in (
        mean_interval(values, INTERVAL),
        clustered_interval(values, names, INTERVAL),
        difference_interval(values, ones, values * 2, ones, INTERVAL),
    ):
        assert all(np.isfinite(part[0]) and np.isnan(part[1]) for part in found)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_p_of_what_is_not_finite_is_empty(value):
    controls = np.random.default_rng(1).normal(size=20)
    for p_of in (against_controls, rank_p):
        assert p_of(3.0, controls) < 0.1
        assert np.isnan(p_of(value, controls))
        assert np.isnan(p_of(3.0, np.append(controls, value)))


def test_a_slope_that_is_no_number_is_on_neither_side():
    assert np.isnan(anti_steerable(np.array([np.nan, np.inf]))).all()
    assert list(anti_steerable(np.array([-1.0, 0.0, 2.0]))) == [1, 0, 0]


def broken(direction=BEHAVIOR):
    """Scores of which one item's is not a number, under one direction."""
    scores = measured(make_scores(1), "logit_diff")
    at = scores.index[scores["direction"] == direction][3]
    scores.loc[at, "value"] = np.nan
    return scores


def test_a_table_of_slopes_has_no_share_and_no_p_out_of_nothing():
    p = ["p", "p_rank"]
    whole = steerability_table(measured(make_scores(1), "logit_diff"), INTERVAL)
    assert whole[p].notna().all(axis=None)
    of_slope = ["slope", "low", "high", "anti_steerable", "anti_low", "standardized"]
    row = steerability_table(broken(), INTERVAL).iloc[0]
    assert row[[*of_slope, *p]].isna().all()
    # a control that is no number takes the p, and the behaviour's slope stays
    for direction, kind in (("random-0", "random"), ("shuffled-1", "shuffled")):
        row = steerability_table(broken(direction), INTERVAL, 0.01).iloc[0]
        assert row[["p_rank", f"anti_{kind}"]].isna().all()
        assert np.isnan(row["p"]) == (kind == "random")
        assert row[of_slope].notna().all()
    found = slopes_by_direction(broken(), ["direction"], "logit_diff", {}, INTERVAL)
    found = found.set_index("direction").loc[BEHAVIOR]
    assert found[["slope", "low", "high", "anti_steerable", "anti_low"]].isna().all()
    change = change_table(broken(), "logit_diff", INTERVAL)
    change = change[(change["direction"] == BEHAVIOR) & (change["multiplier"] != 0)]
    assert change["change"].isna().sum() == 1


def test_an_answer_that_has_no_number_is_neither_right_nor_wrong():
    rows = [
        {"contrast": "letters", "item": item, "layer": 2, "layers": "2", "direction": direction}
        | {"multiplier": m, "n_tokens": np.nan, "logprob": value, "logprob_wrong": -2.0}
        for direction, m, values in ((UNSTEERED, 0.0, (-1, -1)), (BEHAVIOR, 8.0, (-1, np.nan)))
        for item, value in enumerate(values)
    ]
    table = cost_table(pd.DataFrame(rows).assign(norm=1.0), {}, interval=INTERVAL).set_index(
        "direction"
    )
    assert table.loc[UNSTEERED, "value"] == 1
    assert table.loc[BEHAVIOR, ["value", "value_low", "change"]].isna().all()


def test_a_perplexity_that_no_number_holds_is_empty():
    rows = [
        {"contrast": "text", "item": item, "layer": 2, "layers": "2", "direction": direction}
        | {"multiplier": m, "n_tokens": 2.0, "logprob": value}
        for direction, m, value in ((UNSTEERED, 0.0, -4.0), (BEHAVIOR, 8.0, -1e5))
        for item in range(3)
    ]
    table = cost_table(pd.DataFrame(rows).assign(norm=1.0), {}, interval=INTERVAL).set_index(
        "direction"
    )
    assert table.loc[UNSTEERED, "value"] == pytest.approx(np.exp(2))
    assert table.loc[BEHAVIOR, ["value", "value_high", "change"]].isna().all()


def test_the_best_block_is_one_that_has_a_slope():
    table = make_scores(1).assign(split="dev", logit_diff=lambda t: t["logprob_matching"] + 9)
    other = table[table["layer"] == 12].assign(layer=13, layers="13", logit_diff=np.nan)
    assert best_block(*swept_slopes(pd.concat([table, other])), seed=1)["layer"] == 12
    gone = table.assign(logit_diff=np.where(table["layer"] == 12, np.nan, 0))
    with pytest.raises(UserError, match="no block has a slope"):
        best_block(*swept_slopes(gone), seed=1)


def test_a_test_of_ablations_with_a_number_that_is_none_is_empty():
    drops = pd.DataFrame({"unit": np.arange(12) // 2, "active": [True, False] * 6, "drop": 0.1})
    drops = drops.assign(split="test", drop=drops["drop"] + np.arange(12) / 10)
    assert np.isfinite(ks_over_units(drops, ["unit"])["ks_p"])
    assert np.isfinite(ks_pooled(drops))
    for wrong in (np.nan, np.inf):
        drops.loc[3, "drop"] = wrong
        found = ks_over_units(drops, ["unit"])
        assert np.isnan([found["ks_p"], found["ks"], ks_pooled(drops)]).all()
        assert np.isnan(ablation_effects(drops, ["unit"], INTERVAL)["difference_mean"])


# cosines


@pytest.mark.parametrize("vector", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_the_cosine_of_a_vector_without_a_direction_is_empty(vector):
    one, other = np.array([vector]), np.array([[1.0, 2.0]])
    assert np.isnan(cosine(one, other)).all()
    assert np.isnan(cosine(one, one)).all()
    assert np.isnan(cosines(one, other)).all()
    found = cosine(np.array([vector, [2.0, 4.0]]), other)
    assert found[1, 0] == pytest.approx(1)
    table = estimators_cosine({"mean_difference": one, "pca": other})
    assert table["cosine"].isna().all()


def test_a_vector_of_equal_activations_converges_to_nothing():
    same = np.ones((8, 1, 3))
    options = {"sizes": [1, 2], "draws": 3, "vectors": 2, "items": 2, "seed": 1, "name": ["a"]}
    assert convergence_draws(same, same, [None] * 8, **options)["cosine"].isna().all()


# figures and LaTeX


def gone(table, *columns):
    """The table without these numbers."""
    return table.assign(**dict.fromkeys(columns, np.nan))


def of_transfer():
    pairs = [(source, target) for source in (0, 2) for target in (0, 2)]
    table = pd.DataFrame(pairs, columns=["source", "target"])
    return table.assign(behavior="tea", contrast="answers", n=3, measure="logit_diff", chosen=False)


def cells_of(*names):
    pairs = [(one, other) for one in ("a", "b") for other in ("a", "b")]
    return pd.DataFrame(pairs, columns=names).assign(cosine=np.nan)


def of_heads():
    pairs = [(layer, head) for layer in range(2) for head in range(2)]
    table = pd.DataFrame(pairs, columns=["head_layer", "head"]).assign(n=3, active=np.nan)
    return pd.concat(
        [table.assign(neurons=name, attribution=np.nan) for name in ("all random", "2.1 ('a')")]
    )


def of_steerability():
    items, table = make_steerability()
    return gone(items, "slope"), gone(table, "slope", "anti_steerable", "anti_low", "anti_high")


BLOCKS = {"layer": 3, "layers": "3", "contrast": "answers", "measure": "logit_diff"}


def of_multipliers():
    rows = [
        {"behavior": "tea", "direction": direction, "multiplier": m, "n": 4} | BLOCKS
        for direction in (BEHAVIOR, "random")
        for m in (-1.0, 0.0, 1.0)
    ]
    rows = pd.DataFrame(rows).assign(flags="")
    return gone(rows, "change", "change_low", "change_high")


DRAWN = {
    "layer_sweep": lambda: effects.layer_sweep(
        gone(make_effects()["layer_sweep"], "slope", "low", "high"),
        make_steerability()[1],
        gone(make_first_order(), "slope", "random_low", "shuffled_high"),
    ),
    "dose_response": lambda: effects.dose_response(of_multipliers()),
    "heatmap": lambda: effects.heatmap(of_multipliers(), gone(make_first_order(), "random_low")),
    "steerability": lambda: effects.steerability(*of_steerability()),
    "transfer": lambda: transfer.transfer(
        gone(of_transfer(), "slope", "low", "high", "control_low", "control_high", "flags")
    ),
    "cosine_blocks": lambda: geometry.cosine_blocks(
        cells_of("layer", "other_layer").replace({"a": 0, "b": 1}).assign(behavior="tea")
    ),
    "cosine_behaviors": lambda: geometry.cosine_behaviors(
        cells_of("behavior", "other").assign(layer=0)
    ),
    "norms": lambda: geometry.norms(
        gone(of_multipliers().iloc[:1], "vector", "residual", "residual_low", "residual_high")
    ),
    "convergence": lambda: convergence.convergence(
        gone(make_convergence(), "cosine", "low", "high")
    ),
    "several_or_one": lambda: convergence.several_or_one(
        gone(make_convergence(), "cosine", "low", "high")
    ),
    "projection": lambda: texts.projection(gone(make_projection(), "projection")),
    "reasoning": lambda: conditions.reasoning(
        gone(make_reasoning(), "change", "change_low", "change_high"),
        gone(make_first_order(), "random_low"),
    ),
    "system_prompts": lambda: conditions.system_prompts(
        gone(make_system_prompts(), "logit_diff", "logit_diff_low", "logit_diff_high"),
        gone(make_first_order(), "random_low"),
    ),
    "cost": lambda: conditions.cost(gone(make_cost(), "value", "value_low", "value_high")),
    "head_attribution": lambda: heads.head_attribution(of_heads()),
    "published": lambda: heads.published(
        pd.DataFrame(
            [{"quantity": "q", "neurons": "random", "model": "m", "source": "ours"}]
        ).assign(n=0, value=np.nan, sd=np.nan, p=np.nan)
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_without_numbers_is_drawn_with_empty_cells(name, tmp_path):
    figure = DRAWN[name]()
    outputs = {kind: str(tmp_path / f"figure.{kind}") for kind in ("pdf", "png", "csv")}
    save(figure, outputs, pd.DataFrame({"x": [1]}))
    assert not any("nan" in text.get_text() for text in figure.findobj(Text))


def test_logprob_shift_is_drawn_without_numbers(tmp_path):
    table = make_logprobs().assign(layers="2", distinct=1)
    extra = table[table["label"] == "matching"].assign(label="difference")
    figure = fixed_completions.logprob_shift(
        gone(pd.concat([table, extra]), "change", "low", "high")
    )
    outputs = {kind: str(tmp_path / f"figure.{kind}") for kind in ("pdf", "png", "csv")}
    save(figure, outputs, table)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_latex_prints_a_dash_for_what_is_no_number(value):
    headline = Headline(
        "c", {"behavior": "B", "layer": "L"}, {"S": ("s", "low", "high")}, {"p": "p"}
    )
    row = {"behavior": "tea", "layer": value, "s": value, "low": value, "high": value, "p": value}
    source = latex_table(pd.DataFrame([row, {**row, "s": 1.0}]), headline, "x")
    body = source.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert body == ["tea & -- & -- & -- \\\\", "tea & -- & 1.00 & -- \\\\"]


def test_half_precision_that_runs_over_is_refused_where_it_is_scored(load_tiny):
    from steerpaper.steering.scores import score_prompts

    lm = load_tiny("llama")
    prompt = {"behavior": "tea", "contrast": "answers", "split": "dev", "id": "tea-1"}
    prompt |= {"side": None, "ids": [1, 2, 3], "matching_ids": [4], "other_ids": [5]}
    vectors = {BEHAVIOR: np.full((lm.n_layers, lm.width), 1e38)}
    wanted = [Condition((1,), BEHAVIOR, 64.0)]
    said = r"tea-1, block 1, multiplier 64\): after block 1 the residual stream is not finite"
    with torch.no_grad(), pytest.raises(UserError, match=said):
        score_prompts(lm, [prompt], vectors, wanted, budget=256)
