"""Intervals hold the truth as often as they say, and p is small no more often than it says."""

import re

import numpy as np
import pandas as pd
import pytest
import simulations
from simulations import DOCS


def test_intervals_of_means_hold_the_truth_and_more_often_than_the_bootstraps_below_twenty():
    table = simulations.coverage_of_means(800)
    normal = table[table["data"] == "normal"]
    assert normal["ours"].between(0.915, 0.975).all()
    few = table[table["items"] < 20]
    assert (few["ours"] >= few["percentile"] - 0.01).all()
    assert (few["ours"] >= few["BCa"] - 0.02).all()
    # what nothing mends: few numbers of a long tail
    assert table["ours"].min() > 0.75


def test_intervals_of_clusters_hold_the_truth_where_rows_taken_for_independent_do_not():
    table = simulations.coverage_of_clusters(800)
    assert table["mean"].between(0.89, 0.98).all()
    assert table["difference of two labels"].between(0.88, 0.985).all()
    assert table["mean, a few of them large"].between(0.9, 0.995).all()
    assert (table["taken for independent rows"] < 0.75).all()


def test_intervals_of_shares_hold_the_truth_and_are_never_of_width_zero():
    table = simulations.coverage_of_shares(800).set_index("share")
    assert (table.drop(columns="8 clusters of 50") > 0.88).all(axis=None)
    assert (table["8 clusters of 50"] > 0.87).all()


def test_p_is_below_a_twentieth_in_a_twentieth_of_draws_where_nothing_is_there():
    table = simulations.null_of_p(1500)
    assert table["p by Student's t"].between(0.03, 0.07).all()
    assert table["p by rank (at most 1/21)"].between(0.03, 0.07).all()
    assert (table["any of 8, by Holm"] < 0.08).all()
    # the reason that it went
    assert (table["permuted within items"] > 0.2).all()
    labels = simulations.null_of_labels(800)
    assert labels["p_shuffled"].between(0.03, 0.07).all()


def test_the_measured_null_is_what_its_directions_say():
    generator = np.random.default_rng(0)
    assert simulations.null_on_a_model(generator.normal(size=300), 2000) == pytest.approx(
        0.05, abs=0.025
    )


@pytest.mark.default_model
@pytest.mark.long
def test_on_the_default_model_p_is_small_as_seldom_as_it_says(default_folder):
    table = simulations.measured_null(
        default_folder, 2000, pool=60, items=4, contrasts=["letters"], layers=[20]
    )
    # of so few directions the share is a draw itself
    assert 0.005 < table["p by Student's t"].item() < 0.1
    assert table["normal (Shapiro-Wilk p)"].item() > 0.001


def table_of(name):
    """A table of docs/statistics.md, as `make validate` wrote it."""
    text = DOCS.read_text(encoding="utf-8")
    (lines,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    head, _, *rows = [line.strip("| ").split(" | ") for line in lines.splitlines()]
    return pd.DataFrame(rows, columns=head)


@pytest.mark.parametrize(
    ("name", "column", "rows"),
    [("p", "p by Student's t", 2), ("labels", "p_shuffled", 3), ("model", "p by Student's t", 4)],
)
def test_in_the_long_form_p_is_small_in_five_of_a_hundred_give_or_take_two(name, column, rows):
    shares = table_of(name)[column].astype(float)
    assert len(shares) == rows
    assert shares.between(0.03, 0.07).all()


def test_the_documentation_holds_the_simulations_tables():
    text = DOCS.read_text(encoding="utf-8")
    for make in simulations.TABLES.values():
        header = "| " + " | ".join(make(2).columns) + " |"
        assert header in text, header
