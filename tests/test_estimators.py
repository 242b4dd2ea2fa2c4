"""Estimators agree on sign and norm, find what was planted, and transfer keeps its promises."""

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats as scipy_stats

from steerpaper.engine.condition import Condition
from steerpaper.engine.layers import resolve_sets
from steerpaper.errors import UserError
from steerpaper.stats import Interval
from steerpaper.steering import estimators
from steerpaper.steering.choose import configured
from steerpaper.steering.conditions import chosen_layers, conditions, score_rows
from steerpaper.steering.estimators import estimates, pca, probe
from steerpaper.steering.measures import MEASURES
from steerpaper.steering.tables.estimators import estimators_cosine
from steerpaper.steering.tables.rows import measured
from steerpaper.steering.tables.transfer import slopes_by_direction
from steerpaper.steering.transfer import transfer_conditions, transferred
from steerpaper.steering.vectors import mean_difference, mean_norms, residual_norms, scaled_to
from steerpaper.workflow.config import validated

INTERVAL = Interval(seed=1, resamples=2000, confidence=0.95)


def planted(n=60, layers=3, width=24, strength=4.0, seed=0):
    """Activations whose two sides differ by one direction a block, within noise and topic."""
    generator = np.random.default_rng(seed)
    direction = generator.standard_normal((layers, width))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    topic = 3 * generator.standard_normal((n, layers, width))
    noise = generator.standard_normal((2, n, layers, width))
    matching = (topic + strength * direction + noise[0]).astype(np.float32)
    other = (topic + noise[1]).astype(np.float32)
    return matching, other, direction


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_every_file_of_the_folder_is_an_estimator_and_all_are_used():
    folder = ROOT / "scripts/steerpaper/steering/estimators"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == set(estimators.NAMES) >= {"mean_difference", "pca", "probe"}
    matching, other, _ = planted()
    assert set(estimates(matching, other)) == files


@pytest.mark.parametrize("name", estimators.NAMES)
def test_estimators_find_a_planted_direction(name):
    matching, other, direction = planted(n=400)
    found = estimates(matching, other)[name]
    assert (np.sum(unit(found) * direction, axis=1) > 0.9).all()


@pytest.mark.parametrize("name", estimators.NAMES)
def test_estimators_share_sign_and_norm(name):
    matching, other, _ = planted()
    found = estimates(matching, other)
    mean = mean_difference(matching, other)
    np.testing.assert_allclose(
        np.linalg.norm(found[name], axis=1), np.linalg.norm(mean, axis=1), rtol=1e-6
    )
    assert (np.sum(found[name] * mean, axis=1) > 0).all()
    # the sides exchanged, the vector is turned round
    swapped = estimates(other, matching)[name]
    np.testing.assert_allclose(swapped, -found[name], atol=1e-3)


@pytest.mark.parametrize("name", estimators.NAMES)
def test_estimators_do_not_depend_on_the_order_of_items(name):
    matching, other, _ = planted()
    order = np.random.default_rng(1).permutation(len(matching))
    one = estimates(matching, other)[name]
    another = estimates(matching[order], other[order])[name]
    np.testing.assert_allclose(one, another, atol=1e-3)


def test_the_component_is_the_top_eigenvector_of_uncentred_differences():
    matching, other, _ = planted()
    differences = (matching - other)[:, 0].astype(float)
    _, vectors = np.linalg.eigh(differences.T @ differences)
    assert abs(vectors[:, -1] @ pca.estimate(matching[:, 0], other[:, 0])) > 1 - 1e-6


def test_the_probe_turns_with_the_residual_stream():
    matching, other, _ = planted()
    rotation, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((24, 24)))
    plain = probe.estimate(matching[:, 0], other[:, 0])
    turned = probe.estimate(matching[:, 0] @ rotation, other[:, 0] @ rotation)
    np.testing.assert_allclose(turned, plain @ rotation, atol=1e-3)
    larger = probe.estimate(7 * matching[:, 0], 7 * other[:, 0])
    np.testing.assert_allclose(larger, plain, atol=1e-3)


def test_equal_answers_give_zero_vectors_and_no_failure():
    same = np.ones((5, 2, 8), dtype=np.float32)
    for vector in estimates(same, same).values():
        assert (vector == 0).all()


def test_scaling_keeps_directions_and_sets_norms():
    vectors = np.random.default_rng(0).standard_normal((3, 8))
    vectors[1] = 0
    scaled = scaled_to(vectors, np.array([2.0, 5.0, 0.5]))
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), [2.0, 0.0, 0.5])
    kept = [0, 2]
    np.testing.assert_allclose(unit(scaled[kept]), unit(vectors[kept]))


def test_norms_over_behaviours_and_of_the_residual_stream():
    one, two = np.full((2, 4), 1.0), np.full((2, 4), 3.0)
    np.testing.assert_allclose(mean_norms([one, two]), [4.0, 4.0])
    matching, other = np.array([[5.0, 7.0], [1.0, 3.0]]), np.array([[2.0, 1.0], [4.0, 1.0]])
    np.testing.assert_allclose(residual_norms(matching, other), [3.0, 3.0])


def test_cosines_are_of_the_mean_difference():
    matching, other, _ = planted()
    found = estimates(matching, other)
    table = estimators_cosine(found | {"random-0": found["pca"]})
    assert set(table["estimator"]) == {"pca", "probe"}
    assert len(table) == 2 * 3
    for row in table.itertuples():
        one, own = found["mean_difference"][row.layer], found[row.estimator][row.layer]
        assert row.cosine == pytest.approx(unit(one) @ unit(own))


def test_transferred_vectors_keep_the_direction_and_the_norm_asked_for():
    vector = np.random.default_rng(0).standard_normal((4, 8)) * np.array([[1], [2], [4], [8]])
    norms = np.linalg.norm(vector, axis=1)
    for norm, expected in (("source", np.full(4, norms[2])), ("target", norms)):
        everywhere = transferred(vector, [2], norm)["2"]
        np.testing.assert_allclose(unit(everywhere), np.tile(unit(vector[2]), (4, 1)))
        np.testing.assert_allclose(np.linalg.norm(everywhere, axis=1), expected)
        np.testing.assert_allclose(everywhere[2], vector[2])


def test_transfer_slopes_are_least_squares_slopes():
    wanted = transfer_conditions([0, 2], [1], [1, -1, 0, 2], "last")
    assert len(wanted) == 6
    assert {condition.positions for condition in wanted} == {"last"}
    generator = np.random.default_rng(0)
    unsteered, steered = generator.standard_normal((5, 2)), generator.standard_normal((5, 6, 2))
    prompt = {"behavior": "b", "contrast": "answers", "split": "test", "side": None}
    prompt |= {"matching_ids": [5], "other_ids": [6]}
    prompts = [{**prompt, "id": f"p{i}"} for i in range(5)]
    rows = score_rows(prompts, wanted, unsteered, steered).assign(norm=1.0, control_sd=0.5)
    scores = measured(rows, "logit_diff")
    table = slopes_by_direction(scores, ["direction", "layer"], "logit_diff", {}, INTERVAL)
    assert table["direction"].tolist() == ["0", "2"]
    for number in range(2):
        difference = steered[:, 3 * number : 3 * number + 3] @ [1, -1]
        expected = [
            scipy_stats.linregress([0, -1, 1, 2], [base @ [1, -1], *item]).slope
            for base, item in zip(unsteered, difference, strict=True)
        ]
        assert table["slope"].iloc[number] == pytest.approx(np.mean(expected))
        assert table["anti_steerable"].iloc[number] == np.mean(np.array(expected) < 0)
        assert table["low"].iloc[number] <= np.mean(expected) <= table["high"].iloc[number]


def test_sets_of_blocks_are_resolved_once_each():
    assert resolve_sets(["chosen", 3, [5, 4], 7], [3], 8, "k") == [(3,), (4, 5), (7,)]
    with pytest.raises(UserError, match="block 8"):
        resolve_sets([[1, 8]], [3], 8, "k")


def test_blocks_of_a_set_are_one_condition():
    wanted = conditions([2, (3, 4)], [1, 0], {}, "all")
    assert wanted == [
        Condition((2,), "behavior", 1.0, positions="all"),
        Condition((3, 4), "behavior", 1.0, positions="all"),
    ]
    assert [condition.label for condition in wanted] == ["2", "3+4"]


def test_a_configured_set_of_blocks_is_the_one_reported():
    assert configured([5, 3])["layers"] == [3, 5]
    assert configured(4)["layers"] == [4]
    assert chosen_layers(configured([5, 3]), 6) == (3, 5)
    with pytest.raises(UserError, match=r"steering\.layer: block 5 does not exist"):
        chosen_layers(configured([5, 3]), 5)


def test_bad_configurations_name_the_key(monkeypatch):
    import yaml

    known = {"estimator": estimators.NAMES, "measure": list(MEASURES)}
    monkeypatch.chdir(ROOT)
    plain = (ROOT / "config.yaml").read_text()

    def problem(**changes):
        config = yaml.safe_load(plain)
        for path, value in changes.items():
            *parents, last = path.split("__")
            where = config["steering"]
            for parent in parents:
                where = where[parent]
            where[last] = value
        with pytest.raises(UserError) as caught:
            validated(config, ROOT / "config.schema.yaml", known)
        return str(caught.value)

    assert "fixed_completions.samples: 0" in problem(fixed_completions__samples=0)
    assert "estimator: 'median'" in problem(estimator="median")
    assert "one of mean_difference, pca, probe" in problem(estimator="median")
    assert "steering.normalize" in problem(normalize=True, multiplier_unit="residual")
    assert "transfer.behaviors[0]: 'optimist'" in problem(transfer__behaviors=["optimist"])
    assert "transfer.multipliers" in problem(transfer__multipliers=[0])
    assert "fixed_completions.layers" in problem(fixed_completions__layers=["best"])
