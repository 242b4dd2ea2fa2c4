"""First-order slopes of many controls equal those of controls that are drawn one by one."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from steerpaper.steering.chance import by_chance, highest
from steerpaper.steering.first_order import first_order_slopes, random_null, shuffled_null
from steerpaper.steering.slopes import standardized_slopes
from steerpaper.steering.vectors import label_signs, shuffled_direction

GENERATOR = np.random.default_rng(3)
GRADIENTS = GENERATOR.normal(size=(5, 8)) + 0.7
DIFFERENCES = GENERATOR.normal(size=(12, 8)) + 0.3


@pytest.mark.parametrize("items", [1, 5])
def test_random_slopes_are_those_of_directions_on_the_sphere(items):
    gradients = GRADIENTS[:items]
    ours = random_null(gradients, 2.5, 20_000, "a name")
    noise = GENERATOR.normal(size=(20_000, 8))
    directions = 2.5 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    theirs = directions @ gradients.T
    for item in range(items):
        assert ks_2samp(ours[:, item], theirs[:, item]).pvalue > 0.001
    np.testing.assert_allclose(np.cov(ours.T), np.cov(theirs.T), rtol=0.05, atol=0.3)
    # bounded: no direction of that norm moves an item by more
    assert np.abs(ours).max() <= 2.5 * np.linalg.norm(gradients, axis=1).max()


def test_as_many_items_as_dimensions_leave_nothing_unseen():
    ours = random_null(GENERATOR.normal(size=(9, 4)), 1.0, 50, "b")
    assert ours.shape == (50, 9)
    assert np.isfinite(ours).all()


def test_in_many_dimensions_a_random_mean_slope_is_normal():
    gradients = GENERATOR.normal(size=(12, 576)) + 0.2
    means = random_null(gradients, 3.0, 4000, "c").mean(axis=1)
    sd = 3.0 * np.linalg.norm(gradients.mean(axis=0)) / np.sqrt(576)
    assert kstest(means / sd, "norm").pvalue > 0.001


def test_shuffled_slopes_are_those_of_shuffled_vectors():
    signs = label_signs(12, range(40), "d")
    ours = shuffled_null(GRADIENTS, DIFFERENCES, 1.7, signs)
    sides = DIFFERENCES[:, None], np.zeros((12, 1, 8))
    for draw, slopes in zip(signs, ours, strict=True):
        direction = shuffled_direction(*sides, np.array([1.7]), draw)[0]
        assert np.linalg.norm(direction) == pytest.approx(1.7)
        np.testing.assert_allclose(first_order_slopes(GRADIENTS, direction), slopes)


def test_labels_that_cancel_make_no_direction():
    same = np.ones((2, 8))
    found = shuffled_null(GRADIENTS, same, 1.0, np.array([[1.0, -1.0], [1.0, 1.0]]))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_signs_are_even_and_a_draw_does_not_depend_on_the_others():
    signs = label_signs(30, range(500), "e")
    assert abs(signs.mean()) < 0.03
    assert set(np.unique(signs)) == {-1, 1}
    np.testing.assert_array_equal(label_signs(30, range(7, 9), "e"), signs[7:9])


def test_the_highest_by_chance_is_over_all_blocks_of_one_draw():
    gradients = GENERATOR.normal(size=(6, 3, 8))
    differences = GENERATOR.normal(size=(12, 3, 8))
    null = by_chance(gradients, differences, np.ones(3), [0, 2], draws=50, names=[1, "f"])
    assert {kind: slopes.shape for kind, slopes in null.items()} == {
        "random": (2, 50, 6),
        "shuffled": (2, 50, 6),
    }
    signs = label_signs(12, range(50), "first order", 1, "f")
    for place, layer in enumerate([0, 2]):
        expected = shuffled_null(gradients[:, layer], differences[:, layer], 1.0, signs)
        np.testing.assert_allclose(null["shuffled"][place], expected)
    top = highest(null)["shuffled"]
    for draw in range(50):
        each = [standardized_slopes(null["shuffled"][place, draw][:, None])[0] for place in (0, 1)]
        assert top[draw] == pytest.approx(max(each))
