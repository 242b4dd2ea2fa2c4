"""Estimators are compared each at its own block and at the chosen one, beside what chance gives."""

import importlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ARCHITECTURES
from matplotlib.colors import to_rgba
from matplotlib.text import Text
from test_equality import ITEMS
from tiny_models import name_model

from steerpaper.engine.condition import Condition
from steerpaper.engine.gradients import item_gradients
from steerpaper.engine.score import score
from steerpaper.engine.text import choices
from steerpaper.plots import transfer as figures
from steerpaper.plots.style import GREY, readable
from steerpaper.stats import Interval, share_interval
from steerpaper.steering.comparison import by_place, of_prompts, own_block, places, with_controls
from steerpaper.steering.conditions import NO_LAYER, UNSTEERED
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.slopes import slopes
from steerpaper.steering.tables.transfer import estimators_table, transfer_table
from steerpaper.steering.vectors import scaled_to
from steerpaper.workflow.files import read_table, write_jsonl, write_tensors
from steerpaper.workflow.job import Job

INTERVAL = Interval(seed=1, resamples=500, confidence=0.95)
MEASURES = {"interval": INTERVAL, "measures": ["logit_diff", "p_matching"]}
BLOCK = {"layer": 1, "layers": [1]}


def with_slopes(per_item):
    """Gradients [item, L, 2] and a vector whose first-order slopes are the given [item, L]."""
    gradients = np.stack([per_item, np.full_like(per_item, 7.0)], axis=2)
    return gradients, np.tile([1.0, 0.0], (per_item.shape[1], 1))


def test_the_own_block_is_the_surest_and_not_the_one_of_the_largest_mean():
    generator = np.random.default_rng(0)
    per_item = generator.normal([0.1, 1.0, 3.0, 0.9], [0.2, 0.2, 9.0, 0.1], (12, 4))
    gradients, vector = with_slopes(per_item)
    assert per_item.mean(axis=0).argmax() == 2
    assert own_block(gradients, vector, [0, 1, 2, 3]) == 3
    # of those that are asked for
    assert own_block(gradients, vector, [0, 1, 2]) == 1
    # the sign counts: turned round, the least sure of all is the best
    assert own_block(gradients, -vector, [0, 1, 3]) == 0


def test_a_vector_that_moves_nothing_stays_at_the_chosen_block():
    gradients, vector = with_slopes(np.random.default_rng(0).normal(1, 1, (5, 3)))
    vectors = {"zero": np.zeros_like(vector), "one": vector}
    found = places(gradients, vectors, ["zero", "one"], [0, 2], (1, 2))
    assert found["zero", "own"] == found["zero", "chosen"] == found["one", "chosen"] == (1, 2)
    assert found["one", "own"] in ((0,), (2,))
    # a single item has no standard error
    assert own_block(gradients[:1], vector, [0, 2]) is None


def rows_of(where, n=12, shift=1.0, letters=True, norm=2.0):
    """Scores of n items whose slope is about `shift`, with every condition of the places."""
    generator = np.random.default_rng(3)
    rows = []
    for item in range(n):
        base = generator.normal()
        own = {"prompt_id": f"p{item}", "matching": "AB"[item % 2] if letters else None}
        own |= {"logprob_other": -9.0, "ab_mass": 0.9 if letters else np.nan}
        unsteered = {"direction": UNSTEERED, "layer": NO_LAYER, "layers": "", "multiplier": 0.0}
        unsteered |= {"norm": np.nan, "norm_share": np.nan, "control_sd": np.nan}
        rows.append(own | unsteered | {"logprob_matching": base - 9})
        for name, layers in dict.fromkeys((name, layers) for (name, _), layers in where.items()):
            slope = shift + generator.normal()
            for m in (-1.0, 1.0):
                steered = {"direction": name, "layer": layers[0], "multiplier": m, "norm": norm}
                steered["layers"] = "+".join(map(str, layers))
                steered |= {"norm_share": 0.2, "control_sd": 0.5}
                rows.append(own | steered | {"logprob_matching": base - 9 + m * slope})
    return pd.DataFrame(rows)


WHERE = {
    ("pca", "own"): (2,),
    ("pca", "chosen"): (1,),
    ("probe", "own"): (1,),
    ("probe", "chosen"): (1,),
}


def compared(block=BLOCK, **scores):
    return estimators_table(by_place(rows_of(WHERE, **scores), WHERE), block, **MEASURES)


def test_every_estimator_has_a_row_at_its_own_block_and_one_at_the_chosen_though_they_be_one():
    table = compared()
    one = table[table["measure"] == "logit_diff"].set_index(["estimator", "at"])
    assert one["layers"].to_dict() == {key: str(layers[0]) for key, layers in WHERE.items()}
    same = one.loc["probe"].drop(columns=["measure"])
    pd.testing.assert_series_equal(same.loc["own"], same.loc["chosen"], check_names=False)
    assert one.loc[("pca", "own"), "slope"] != one.loc[("pca", "chosen"), "slope"]
    assert (one["n"] == 12).all()
    assert (one["norm_share"] == 0.2).all()


def test_anti_steerable_shares_have_intervals_of_shares():
    columns = ["anti_steerable", "anti_low", "anti_high"]
    for shift in (0.5, 30.0):
        one = compared(shift=shift).iloc[0]
        against = round(12 * one["anti_steerable"])
        expected = share_interval(np.repeat([1.0, 0.0], [against, 12 - against]), INTERVAL)
        np.testing.assert_allclose(one[columns].astype(float), expected, atol=1e-12)
    # of none against, the interval is not of width zero
    assert against == 0
    assert one["anti_high"] > 0.1


def test_the_band_of_controls_is_of_the_logit_difference_alone():
    table = compared()
    own = table[table["measure"] == "logit_diff"]
    np.testing.assert_allclose(own["control_high"], 1.959964 * 0.5, rtol=1e-5)
    np.testing.assert_allclose(own["control_low"], -own["control_high"])
    other = table[table["measure"] == "p_matching"]
    assert other[["control_low", "control_high"]].isna().all(axis=None)


def test_flags_stand_where_estimators_and_transfer_are_summed_up():
    assert set(compared(n=24)["flags"]) == {""}
    assert set(compared(n=12)["flags"]) == {"few items"}
    assert set(compared(n=24, norm=0.0)["flags"]) == {"zero vector"}
    assert set(compared(BLOCK | {"stands_out": False}, n=24)["flags"]) == {"no block stands out"}
    scores = rows_of({("1", "x"): (1,), ("2", "x"): (1,)}, n=3)
    table = transfer_table(scores, BLOCK, **MEASURES)
    assert set(table["flags"]) == {"no interval"}
    assert table["chosen"].tolist() == [True, False] * 2


def test_gradients_are_taken_of_the_same_prompts_in_their_order():
    gradients = np.arange(4)[:, None, None] * np.ones((4, 2, 3))
    prompts = [{"id": name} for name in "abcd"]
    found = of_prompts(gradients, prompts, [{"id": "d"}, {"id": "b"}])
    assert found[:, 0, 0].tolist() == [3, 1]


def control_sd(gradients, vectors, wanted):
    table = pd.DataFrame(
        {
            "direction": [UNSTEERED, *(one.direction for one in wanted)],
            "layers": ["", *(one.label for one in wanted)],
        }
    )
    unsteered, *found = with_controls(table, gradients, vectors, wanted)["control_sd"]
    assert np.isnan(unsteered)
    return found


def test_the_spread_of_controls_is_that_of_random_directions_drawn():
    generator = np.random.default_rng(0)
    gradients = generator.normal(0.2, 1, (9, 3, 48))
    vectors = {"v": generator.normal(size=(3, 48)) * [[1.0], [2.0], [5.0]]}
    wanted = [Condition(layers, "v", 1.0) for layers in ((0,), (2,), (0, 2))]
    norms = np.linalg.norm(vectors["v"], axis=1)
    drawn = np.zeros((4000, 3))
    for draw in range(4000):
        directions = scaled_to(generator.normal(size=(3, 48)), norms)
        drawn[draw] = np.einsum("ild,ld->l", gradients, directions) / 9
    expected = np.stack([drawn[:, 0], drawn[:, 2], drawn[:, 0] + drawn[:, 2]])
    np.testing.assert_allclose(control_sd(gradients, vectors, wanted), expected.std(1), rtol=0.05)
    # and one more lies within the band as often as it says
    inside = (
        np.abs(expected) <= 1.959964 * np.array(control_sd(gradients, vectors, wanted))[:, None]
    )
    assert (np.abs(inside.mean(axis=1) - 0.95) < 0.02).all()


def pairs_of(lm, contrast, n):
    options = {"behavior": "impatience", "split": "test", "system": None, "seed": 1}
    return as_rows(
        serialize(lm.tokenizer, ITEMS[:n], contrast=contrast, context=lm.context, **options)
    )


@pytest.mark.parametrize("lm", ARCHITECTURES, indirect=True)
@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_the_band_holds_measured_slopes_of_random_directions(lm, contrast):
    pairs = choices(pairs_of(lm, contrast, 4))
    gradients = item_gradients(lm, pairs, "response", 512)
    generator = np.random.default_rng(0)
    norms = np.full(lm.n_layers, 0.02)
    shape = (lm.n_layers, lm.width)
    vectors = {f"{k}": scaled_to(generator.normal(size=shape), norms) for k in range(60)}
    multipliers = [-1.0, 1.0]
    wanted = [Condition((2,), name, m) for name in vectors for m in multipliers]
    _, steered = score(lm, pairs, vectors, wanted, budget=2000)
    difference = (steered[..., 0] - steered[..., 1]).reshape(len(pairs), len(vectors), 2)
    measured = slopes(np.array(multipliers), difference.mean(axis=0))
    (sd,) = control_sd(gradients, vectors, [Condition((2,), "0", 1.0)])
    assert measured.std() == pytest.approx(sd, rel=0.3)
    assert (np.abs(measured) < 1.96 * sd).mean() > 0.85


@pytest.fixture(scope="module")
def study(tmp_path_factory, model_folders, load_tiny):
    """What the scripts read: a model, prompts, vectors, activations' norms, a chosen block."""
    folder, lm = tmp_path_factory.mktemp("compared"), load_tiny("llama")
    shutil.copytree(model_folders["llama"], folder / "model")
    name_model(folder / "model")
    write_jsonl(folder / "test.jsonl", pairs_of(lm, "answers", 6))
    generator = np.random.default_rng(0)
    shape = (lm.n_layers, lm.width)
    vectors = {name: generator.normal(size=shape) for name in ("pca", "probe", "behavior")}
    write_tensors(folder / "vectors.safetensors", vectors, {})
    norms = {f"{side}_norms": np.full((5, lm.n_layers), 50.0) for side in ("matching", "other")}
    write_tensors(folder / "activations.safetensors", norms, {})
    (folder / "block.json").write_text(json.dumps(BLOCK))
    return folder, vectors


def run(study, script, gradients, **params):
    """A script's scores, with gradients [item, L, d] of dev and test."""
    folder, _ = study
    write_tensors(folder / "gradients.safetensors", gradients, {})
    names = ("vectors", "activations", "gradients")
    job = Job(
        input={name: str(folder / f"{name}.safetensors") for name in names}
        | {"model": f"{folder}/model/engine.json"}
        | {"prompts": f"{folder}/test.jsonl", "block": f"{folder}/block.json"},
        output={"scores": str(folder / "scores.parquet")},
        params={"run": {"device": "cpu", "dtype": "float32"}, "positions": "response"}
        | {"prompts": 4, "multipliers": [-1, 1]}
        | params,
        wildcards={"behavior": "impatience", "contrast": "answers"},
        threads=1,
        log=str(folder / "log"),
        batch_tokens=400,
    )
    importlib.import_module(f"steering.{script}").main(job)
    return read_table(folder / "scores.parquet")


def favouring(vectors, name, block, seed, n=6):
    """Gradients along which one vector's slope is sure at one block."""
    generator = np.random.default_rng(seed)
    gradients = generator.normal(0, 0.1, (n, *vectors[name].shape))
    gradients[:, block] += 0.3 * vectors[name][block]
    return gradients


def own_blocks(study, dev, test, layers):
    table = run(
        study, "estimators", {"dev": dev, "test": test}, estimators=["pca", "probe"], layers=layers
    )
    own = table[table["at"] == "own"].drop_duplicates("direction").set_index("direction")
    return own["layer"].to_dict()


def test_own_blocks_are_chosen_on_dev_among_the_swept_ones_and_never_on_test(study):
    _, vectors = study
    three = favouring(vectors, "pca", 3, 1) + favouring(vectors, "probe", 0, 2)
    zero = favouring(vectors, "pca", 0, 1) + favouring(vectors, "probe", 3, 2)
    assert own_blocks(study, three, zero, [0, 3]) == {"pca": 3, "probe": 0}
    assert own_blocks(study, three, three, [0, 3]) == {"pca": 3, "probe": 0}
    assert own_blocks(study, zero, three, [0, 3]) == {"pca": 0, "probe": 3}
    # block 3 is not asked for
    assert own_blocks(study, three, zero, [0]) == {"pca": 0, "probe": 0}


def test_scripts_write_norms_and_the_spread_of_controls_of_the_prompts_that_are_scored(study):
    _, vectors = study
    test = np.random.default_rng(4).normal(size=(6, *vectors["pca"].shape))
    gradients = {"dev": favouring(vectors, "pca", 3, 1), "test": test}
    for script, options in (
        ("estimators", {"estimators": ["pca"], "layers": [3]}),
        ("transfer", {"layers": [1, 3], "norm": "source"}),
    ):
        table = run(study, script, gradients, **options)
        assert table["prompt_id"].nunique() == 4
        steered = table[(table["layer"] == 3)].iloc[0]
        source = vectors["pca"][3] if script == "estimators" else vectors["behavior"][1]
        norm = np.linalg.norm(source)
        assert steered["norm"] == pytest.approx(norm)
        ids = [row["id"] for row in pairs_in(study)]
        scored = [ids.index(name) for name in table["prompt_id"].unique()]
        expected = norm * np.linalg.norm(test[scored, 3].mean(axis=0)) / np.sqrt(source.size)
        assert steered["control_sd"] == pytest.approx(expected, rel=1e-5)
        if script == "estimators":
            assert steered["norm_share"] == pytest.approx(norm / 50)


def pairs_in(study):
    return [json.loads(line) for line in (study[0] / "test.jsonl").read_text().splitlines()]


def said(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def drawn_estimators(**scores):
    table = pd.concat([compared(**scores).assign(behavior=name) for name in ("calm", "tea")])
    table = table[table["measure"] == "logit_diff"].assign(contrast="letters")
    cosines = pd.DataFrame({"layer": [0, 1], "estimator": "pca", "cosine": [0.9, 0.8]})
    cosines = cosines.assign(behavior="calm", contrast="letters")
    return table, figures.estimators(readable(table), cosines)


def test_the_estimators_figure_has_a_grey_band_for_every_point_and_the_own_blocks():
    table, figure = drawn_estimators(n=24)
    bars = figure.axes[0].patches
    assert len(bars) == len(table) == 8
    spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars)
    expected = sorted(table[["control_low", "control_high"]].to_numpy().tolist())
    np.testing.assert_allclose(spans, expected)
    texts = said(figure)
    assert texts.count("2") >= 2
    assert {"pca", "probe", "random directions", "at its own block", "at the chosen block"} < {
        *texts
    }
    assert not any("†" in text for text in texts)
    _, flagged = drawn_estimators(n=12)
    assert "† few items" in said(flagged)
    ticks = [label.get_text() for label in flagged.axes[0].get_xticklabels()]
    assert [tick.partition("\n")[0] for tick in ticks] == ["calm†", "tea†"]


def test_the_transfer_figure_greys_what_a_random_direction_may_do():
    table = pd.DataFrame(
        {"source": [0, 0, 1, 1], "target": [0, 1, 0, 1], "slope": [2.0, 0.2, -0.3, -3.0]}
    ).assign(low=-9.0, high=9.0, control_low=-0.5, control_high=0.5, n=24, chosen=False)
    table = table.assign(behavior="calm", contrast="answers", measure="logit_diff", flags=np.nan)
    figure = figures.transfer(readable(table))
    grey = {t.get_text() for t in figure.axes[0].texts if to_rgba(t.get_color()) == to_rgba(GREY)}
    assert grey == {"(0.2)", "(-0.3)"}
    assert not any("†" in text for text in said(figure))
    table["flags"] = "few items"
    assert "† few items" in said(figures.transfer(readable(table)))
