"""The headline tables as LaTeX, as report/tables.yaml declares them."""

import pandas as pd
import pytest
from conftest import ROOT
from makers import (
    make_benchmarks,
    make_cost,
    make_logprobs,
    make_propensity,
    make_reasoning,
    make_steerability,
    make_system_prompts,
)
from many_tables import prompt_kinds, ratings

from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.steering.tables.latex import Headline, latex_table
from steerpaper.workflow.declared import headlines, rows_of

WORDS = {"measure": "logit_diff", "title": "logit difference", "Title": "Logit difference"}
HEADLINES = headlines(rows_of(ROOT / "report/tables.yaml"), WORDS | {"unit": "nats"})
MADE = {
    "steerability": lambda: make_steerability()[1],
    "reasoning": make_reasoning,
    "system_prompts": lambda: make_system_prompts(("for",)),
    "cost": make_cost,
    "propensity": lambda: make_propensity(("for",)),
    "benchmarks": make_benchmarks,
    "ratings": lambda: ratings(2)[0],
    "logprobs": make_logprobs,
    "prompt_kinds_correlation": lambda: prompt_kinds(6)[1],
}


def as_latex(name, table):
    return latex_table(table, Headline(**HEADLINES[name]), name)


def test_every_headline_is_tried():
    assert set(MADE) == set(HEADLINES)


@pytest.mark.parametrize("name", MADE)
def test_latex_tables_hold_estimates_with_their_intervals(name):
    table = MADE[name]()
    source = as_latex(name, table)
    assert source.count("\\begin{tabular}") == source.count("\\end{tabular}") == 1
    assert f"\\label{{tab:{name}}}" in source
    kept = (
        table[table["direction"] == BEHAVIOR] if "direction" in HEADLINES[name]["rows"] else table
    )
    if "category" in HEADLINES[name]["rows"]:
        kept = table[table["category"].isna()]
    body = source.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(body) == len(kept)
    assert "[" in body[0]
    assert all(line.count(" & ") == body[0].count(" & ") for line in body)
    assert "nan" not in source
    assert "_" not in "".join(body).replace("\\_", "")


def test_a_latex_row_without_data_has_dashes_and_n_0():
    source = as_latex("system_prompts", make_system_prompts(("for",)))
    row = next(line for line in source.splitlines() if "optimism & for" in line)
    assert row == "optimism & for & 0 & -- & -- & 0 \\\\"


def test_negative_numbers_have_a_minus_sign_and_names_keep_their_hyphen():
    table = make_reasoning().assign(behavior="risk-taking")
    source = as_latex("reasoning", table)
    assert "risk-taking" in source
    assert "$-$1" in source


def test_of_several_measures_the_first_is_printed():
    table = make_reasoning()
    both = pd.concat([table, make_reasoning("p_matching")])
    assert as_latex("reasoning", both) == as_latex("reasoning", table)
    assert "Logit difference (nats)" in as_latex("reasoning", table)
