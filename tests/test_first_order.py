"""First-order nulls: the draws of directions in n numbers are those of whole directions."""

import numpy as np
import pytest
from scipy import stats

from steerpaper.steering.chance import by_chance, highest, p_of_labels
from steerpaper.steering.first_order import (
    first_order_slopes,
    random_null,
    random_signs,
    shuffled_null,
)
from steerpaper.steering.slopes import standardized_slopes
from steerpaper.steering.vectors import shuffled_direction

DRAWS = 4000


def make_gradients(items, d, seed=0):
    """Gradients that are alike and of unequal size, as items' are: [item, d]."""
    generator = np.random.default_rng(seed)
    own, shared = generator.standard_normal((items, d)), generator.standard_normal(d)
    return (own + shared) * generator.uniform(0.2, 3, (items, 1))


def plain_null(gradients, norm, draws, seed=1):
    """The plain way: whole directions, multiplied."""
    z = np.random.default_rng(seed).standard_normal((draws, gradients.shape[1]))
    return (norm * z / np.linalg.norm(z, axis=1, keepdims=True)) @ gradients.T


def test_a_slope_is_the_gradient_s_product_with_the_direction():
    gradients = np.array([[1.0, 2.0], [0.0, -1.0]], dtype=np.float32)
    np.testing.assert_array_equal(
        first_order_slopes(gradients, np.array([3.0, 0.5], dtype=np.float32)), [4.0, -0.5]
    )


@pytest.mark.parametrize(("items", "d"), [(1, 3), (6, 10), (5, 5), (9, 4), (12, 576)])
def test_random_directions_slopes_are_distributed_as_those_of_whole_directions(items, d):
    gradients = make_gradients(items, d)
    ours = random_null(gradients, 2.5, DRAWS, 3, "x")
    theirs = plain_null(gradients, 2.5, DRAWS)
    assert ours.shape == theirs.shape == (DRAWS, items)
    # single items, their mean, a contrast of two, the largest
    readings = [lambda s: s.mean(axis=1), lambda s: s[:, 0] - s[:, -1], lambda s: s.max(axis=1)]
    readings += [lambda s, k=k: s[:, k] for k in range(items)]
    for read in readings:
        if np.ptp(read(theirs)) > 0:
            assert stats.ks_2samp(read(ours), read(theirs)).pvalue > 1e-3
    covariance = 2.5**2 / d * gradients @ gradients.T
    error = np.abs(ours.T @ ours / DRAWS - covariance).max()
    assert error < 0.12 * np.abs(covariance).max()
    np.testing.assert_allclose(ours.mean(axis=0), 0, atol=5 * covariance.max() ** 0.5 / DRAWS**0.5)


@pytest.mark.parametrize(("items", "d"), [(5, 5), (9, 4), (1, 1)])
def test_where_the_items_span_all_dimensions_every_draw_has_exactly_the_norm(items, d):
    gradients = make_gradients(items, d)
    slopes = random_null(gradients, 2.5, 50, 3)
    directions, *_ = np.linalg.lstsq(gradients, slopes.T, rcond=None)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 2.5, rtol=1e-6)
    np.testing.assert_allclose(gradients @ directions, slopes.T, atol=1e-8)


def test_no_draw_is_longer_than_the_norm_and_equal_items_have_equal_slopes():
    gradients = np.repeat(make_gradients(3, 8), 2, axis=0)
    slopes = random_null(gradients, 2.5, 500, 3)
    np.testing.assert_allclose(slopes[:, ::2], slopes[:, 1::2], atol=1e-6)
    assert (np.abs(slopes) <= 2.5 * np.linalg.norm(gradients, axis=1) * (1 + 1e-9)).all()


def test_in_many_dimensions_the_mean_slope_of_random_directions_is_normal():
    gradients = make_gradients(30, 3000)
    mean = random_null(gradients, 2.5, DRAWS, 3).mean(axis=1)
    sd = 2.5 * np.linalg.norm(gradients.mean(axis=0)) / 3000**0.5
    assert stats.kstest(mean / sd, "norm").pvalue > 1e-3
    # and in few it is not: the test can tell
    few = make_gradients(30, 3)
    mean = random_null(few, 2.5, DRAWS, 3).mean(axis=1)
    sd = 2.5 * np.linalg.norm(few.mean(axis=0)) / 3**0.5
    assert stats.kstest(mean / sd, "norm").pvalue < 1e-6


def test_draws_follow_from_what_they_are_for():
    gradients = make_gradients(4, 9)
    one = random_null(gradients, 1.0, 20, 3, "optimism", 5)
    np.testing.assert_array_equal(one, random_null(gradients, 1.0, 20, 3, "optimism", 5))
    np.testing.assert_allclose(2 * one, random_null(gradients, 2.0, 20, 3, "optimism", 5))
    for other in [(4, "optimism", 5), (3, "sociability", 5), (3, "optimism", 6)]:
        assert not np.allclose(one, random_null(gradients, 1.0, 20, *other))
    signs = random_signs(20, 7, 3, "optimism")
    np.testing.assert_array_equal(signs, random_signs(20, 7, 3, "optimism"))
    assert not np.array_equal(signs, random_signs(20, 7, 3, "sociability"))


def test_signs_are_even_and_independent():
    signs = random_signs(DRAWS, 6, 3)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    products = signs.T @ signs / DRAWS
    np.testing.assert_allclose(products - np.eye(6), 0, atol=0.08)
    np.testing.assert_allclose(signs.mean(axis=0), 0, atol=0.08)


@pytest.mark.parametrize("train", [1, 5, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shuffled_labels_slopes_are_those_of_the_whole_vectors(train, dtype):
    gradients = make_gradients(6, 20).astype(dtype)
    differences = make_gradients(train, 20, seed=5).astype(dtype)
    signs = random_signs(200, train, 3)
    vectors = signs @ differences.astype(np.float64)
    vectors *= 2.5 / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(
        shuffled_null(gradients, differences, 2.5, signs), vectors @ gradients.T.astype(float)
    )


def test_true_signs_give_the_slopes_of_the_mean_difference():
    gradients, differences = make_gradients(6, 20), make_gradients(9, 20, seed=5)
    vector = differences.mean(axis=0)
    np.testing.assert_allclose(
        shuffled_null(gradients, differences, np.linalg.norm(vector), np.ones((1, 9)))[0],
        first_order_slopes(gradients, vector),
    )


def test_shuffles_of_differences_with_a_strong_mean_are_wide_bounded_and_not_normal():
    generator = np.random.default_rng(2)
    mean = 2 * np.ones(100)
    differences = mean + generator.standard_normal((60, 100))
    gradients, signs = np.tile(mean, (2, 1)), random_signs(DRAWS, 60, 3)
    norm = np.linalg.norm(differences.mean(axis=0))
    own = first_order_slopes(gradients, differences.mean(axis=0))[0]
    draws = shuffled_null(gradients, differences, norm, signs)[:, 0]
    assert np.abs(draws).max() < 1.01 * own
    assert stats.kurtosis(draws) < -0.5
    without = differences - differences.mean(axis=0) + 0.01 * mean
    assert np.std(draws) > 3 * np.std(shuffled_null(gradients, without, norm, signs)[:, 0])


def test_a_shuffle_that_cancels_has_no_slope_and_leaves_the_others():
    gradients, one = make_gradients(3, 20), make_gradients(1, 20, seed=5)
    differences = np.concatenate([one, one, 0.1 * one, 0.1 * one])
    signs = np.array([[1, -1, 1, -1], [1, 1, -1, 1], [-1, 1, -1, 1]], dtype=float)
    slopes = shuffled_null(gradients, differences, 2.0, signs)
    assert np.isnan(slopes[[0, 2]]).all()
    assert np.isfinite(slopes[1]).all()
    assert np.isnan(shuffled_null(gradients, 0 * differences, 2.0, signs)).all()


def test_a_control_does_not_depend_on_how_many_there_are():
    np.testing.assert_array_equal(random_signs(20, 33, 1, "a"), random_signs(500, 33, 1, "a")[:20])


def test_a_shuffled_direction_has_the_slopes_that_its_signs_say():
    generator = np.random.default_rng(3)
    gradients, differences = generator.normal(size=(5, 8)), generator.normal(size=(12, 8))
    signs = random_signs(9, 12, 1, "b")
    ours = shuffled_null(gradients, differences, 1.7, signs)
    sides = differences[:, None], np.zeros((12, 1, 8))
    for draw, slopes in zip(signs, ours, strict=True):
        direction = shuffled_direction(*sides, np.array([1.7]), draw)[0]
        assert np.linalg.norm(direction) == pytest.approx(1.7)
        np.testing.assert_allclose(first_order_slopes(gradients, direction), slopes)


def test_the_highest_by_chance_is_over_all_blocks_of_one_draw():
    generator = np.random.default_rng(4)
    gradients, differences = generator.normal(size=(6, 3, 8)), generator.normal(size=(12, 3, 8))
    options = {"draws": 50, "seed": 1, "what": ["f"]}
    null = by_chance(gradients, differences, np.ones(3), [0, 2], **options)
    assert {kind: slopes.shape for kind, slopes in null.items()} == {
        "random": (2, 50, 6),
        "shuffled": (2, 50, 6),
    }
    signs = random_signs(50, 12, 1, "f")
    for place, layer in enumerate([0, 2]):
        expected = shuffled_null(gradients[:, layer], differences[:, layer], 1.0, signs)
        np.testing.assert_allclose(null["shuffled"][place], expected)
    top = highest(null)["shuffled"]
    for draw in range(50):
        each = [standardized_slopes(null["shuffled"][place, draw][:, None])[0] for place in (0, 1)]
        assert top[draw] == pytest.approx(max(each))


def test_p_of_labels_is_even_where_labels_mean_nothing_and_small_where_they_do():
    generator = np.random.default_rng(8)
    options = {"draws": 199, "seed": 1, "what": ["g"]}
    found = []
    for _ in range(400):
        # differences that share an axis, each with a sign of its own
        axis = generator.normal(size=8)
        differences = generator.normal(size=(12, 1, 8))
        differences[:, 0] += 2 * np.outer(generator.normal(size=12), axis)
        gradients = generator.normal(size=(5, 1, 8))
        found.append(p_of_labels(gradients, differences, differences.mean(axis=0), [0], **options))
    assert 0.03 < np.mean(np.array(found) <= 0.05) < 0.08
    assert stats.kstest(found, "uniform").pvalue > 0.001
    # where every item agrees no draw reaches them all, however alike the differences are
    along, strong = gradients + 3 * axis, 0.1 * differences + axis
    p = p_of_labels(along, strong, strong.mean(axis=0), [0], **options)
    assert p <= 2 / 200
    # two blocks that are steered together count together, and a vector of nothing has no p
    twice = [np.repeat(values, 2, axis=1) for values in (along, strong)]
    assert p_of_labels(*twice, twice[1].mean(axis=0), [0, 1], **options) == p
    assert np.isnan(p_of_labels(along, strong, np.zeros((1, 8)), [0], **options))
