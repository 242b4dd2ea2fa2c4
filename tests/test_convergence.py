"""Convergence: cosines of subsets are those of vectors made the plain way."""

import numpy as np
import pytest

from steerpaper.stats import Interval
from steerpaper.steering.convergence import compare, convergence, curve, orders, subset_means
from steerpaper.steering.tables.convergence import convergence_table
from steerpaper.steering.vectors import mean_difference

N, D = 30, 16


def make_differences(signal=1.0):
    generator = np.random.default_rng(0)
    return signal * generator.normal(size=D) + generator.normal(size=(N, D))


def plain_cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_cosines_equal_the_plain_way():
    differences, order = make_differences(), orders(N, 5, "test")
    found = curve(differences, order, [3, 10, 20])
    full = differences.mean(0)
    for draw in range(5):
        for size in (3, 10, 20):
            one = differences[order[draw, :size]].mean(0)
            assert found["full", size][draw] == pytest.approx(plain_cosine(one, full))
            if 2 * size <= N:
                two = differences[order[draw, size : 2 * size]].mean(0)
                assert found["disjoint", size][draw] == pytest.approx(plain_cosine(one, two))
    assert ("disjoint", 20) not in found


def test_all_items_give_the_full_vector_and_more_than_there_are_give_nothing():
    found = curve(make_differences(), orders(N, 4, "test"), [N, N + 1])
    np.testing.assert_allclose(found["full", N], 1)
    assert set(found) == {("full", N)}


def test_more_items_come_closer():
    found = curve(make_differences(), orders(N, 300, "test"), [1, 3, 10, 20])
    for against, sizes in (("full", [1, 3, 10, 20]), ("disjoint", [1, 3, 10])):
        means = [found[against, size].mean() for size in sizes]
        assert means == sorted(means)


def test_noise_alone_has_no_disjoint_cosine_though_it_has_one_with_the_full_vector():
    # what the two references differ in: shared items
    found = curve(make_differences(0.0), orders(N, 400, "test"), [15])
    assert found["full", 15].mean() > 0.5
    assert abs(found["disjoint", 15].mean()) < 0.25


def test_the_mean_of_several_vectors_is_the_one():
    differences, order = make_differences(), orders(N, 6, "test")
    several = [subset_means(differences, order[:, k * 5 :], 5) for k in range(4)]
    np.testing.assert_allclose(np.mean(several, axis=0), subset_means(differences, order, 20))


def test_comparison_equals_the_plain_way():
    differences, order = make_differences(), orders(N, 3, "test")
    found = compare(differences, order, 4, 5)
    full = differences.mean(0)
    for draw in range(3):
        chosen = order[draw]
        several = [differences[chosen[k * 5 : k * 5 + 5]].mean(0) for k in range(4)]
        one, rest = differences[chosen[:20]].mean(0), differences[chosen[20:]].mean(0)
        for against, reference in (("full", full), ("rest", rest)):
            single = [plain_cosine(vector, reference) for vector in several]
            assert found["one", against][draw] == pytest.approx(plain_cosine(one, reference))
            assert found["several, mean", against][draw] == pytest.approx(np.mean(single))
            assert found["several, lowest", against][draw] == pytest.approx(min(single))
        pairs = [plain_cosine(several[i], several[j]) for i in range(4) for j in range(i)]
        assert found["several, pairwise", "each other"][draw] == pytest.approx(np.mean(pairs))


def test_one_vector_beats_several_on_items_that_neither_has_seen():
    found = compare(make_differences(0.7), orders(N, 300, "test"), 4, 5)
    assert found["one", "rest"].mean() > found["several, mean", "rest"].mean() + 0.05


def test_too_few_items_compare_nothing():
    assert compare(make_differences(), orders(N, 3, "test"), 5, 10) == {}


def test_vectors_of_norm_zero_have_no_cosine():
    found = curve(np.zeros((6, 4)), orders(6, 3, "test"), [2])
    assert np.isnan(found["full", 2]).all()


def options(**other):
    return {"sizes": [2, 5, 40], "draws": 7, "vectors": 2, "items": 3, "seed": 1, **other}


def activations():
    generator = np.random.default_rng(1)
    return generator.normal(size=(2, 12, 3, D)).astype(np.float32)


def test_draws_depend_on_seed_and_name_alone():
    pairs = [*activations(), [None] * 12]
    one = convergence(*pairs, **options(name=["a", "answers"]))
    again = convergence(*pairs, **options(name=["a", "answers"]))
    assert one.equals(again)
    assert not one.equals(convergence(*pairs, **options(name=["b", "answers"])))
    # the number of draws does not change those that are there
    more = convergence(*pairs, **options(name=["a", "answers"], draws=9))
    np.testing.assert_array_equal(one["cosine"], more[more["draw"] < 7]["cosine"])


def test_every_subset_has_equally_many_of_each_side():
    sides = ["A"] * 6 + ["B"] * 8
    drawn = orders(14, 50, "test", sides=sides)
    assert (np.sort(drawn, axis=1) == np.arange(14)).all()
    are_a = drawn[:, :12] < 6
    for begin in range(10):
        for end in range(begin + 1, 13):
            part = are_a[:, begin:end].sum(axis=1)
            assert (abs(2 * part - (end - begin)) <= 2).all()
    assert (abs(2 * are_a[:, :5].sum(axis=1) - 5) == 1).all()
    # which side is first is drawn
    assert 10 < are_a[:, 0].sum() < 40
    # items without sides are drawn as they come
    plain = orders(14, 50, "test", sides=[None] * 14)
    assert (plain == orders(14, 50, "test")).all()


def test_the_table_summarises_draws_per_block_and_size():
    pairs = [*activations(), [None] * 12]
    draws = convergence(*pairs, **options(name=["a"]))
    draws = draws.assign(contrast="answers")
    table = convergence_table(draws, interval=Interval(1, 200, 0.9))
    assert set(table["contrast"]) == {"answers"}
    assert set(table["layer"]) == {0, 1, 2}
    assert set(table["draws"]) == {7}
    row = table[(table["layer"] == 1) & (table["items"] == 5) & (table["against"] == "full")]
    chosen = draws[(draws["layer"] == 1) & (draws["items"] == 5) & (draws["against"] == "full")]
    assert row["cosine"].item() == pytest.approx(chosen["cosine"].mean())
    assert row["low"].item() == pytest.approx(chosen["cosine"].quantile(0.05))
    assert row["high"].item() == pytest.approx(chosen["cosine"].quantile(0.95))
    # sizes that there are too few items for leave no row, rather than a wrong one
    assert 40 not in set(table["items"])


def test_subsets_are_made_of_the_mean_difference():
    matching, other = activations()
    differences = matching[:, 0].astype(float) - other[:, 0]
    found = subset_means(differences, orders(12, 2, "test"), 12)
    np.testing.assert_allclose(found[0], mean_difference(matching, other)[0])
