"""Figures, drawn from tables alone; where n = 0 they say so."""

import copy
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from conftest import mostly_long
from makers import (
    BEHAVIORS,
    make_benchmarks,
    make_completions,
    make_convergence,
    make_cost,
    make_effects,
    make_first_order,
    make_projection,
    make_propensity,
    make_reasoning,
    make_steerability,
    make_system_prompts,
)
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from steerpaper.plots import benchmarks, conditions, convergence, effects, texts
from steerpaper.plots.fonts import own_fonts_first
from steerpaper.plots.style import save
from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.workflow.files import read_table, write_table


def said(figure):
    """All texts in a figure."""
    return "\n".join(t.get_text() for t in figure.findobj(Text))


DRAWN = {
    "steerability": lambda: effects.steerability(*make_steerability()),
    "reasoning": lambda: conditions.reasoning(make_reasoning(), make_first_order()),
    "system_prompts": lambda: conditions.system_prompts(make_system_prompts(), make_first_order()),
    "propensity": lambda: conditions.propensity(make_propensity()),
    "cost": lambda: conditions.cost(make_cost()),
    "benchmarks": lambda: benchmarks.benchmarks(make_benchmarks()),
    "convergence": lambda: convergence.convergence(make_convergence()),
    "several_or_one": lambda: convergence.several_or_one(make_convergence()),
    "projection": lambda: texts.projection(make_projection()),
    "completions": lambda: texts.completions(make_completions()),
}


# the others are drawn twice by whole runs
@pytest.mark.parametrize("name", mostly_long(DRAWN, "steerability", "completions"))
def test_every_figure_is_drawn_and_saved_the_same_again(tmp_path, name):
    written = []
    for run in ("one", "two"):
        figure = DRAWN[name]()
        shown = said(figure)
        for behavior in BEHAVIORS:
            assert behavior in shown
        outputs = {kind: str(tmp_path / f"{run}.{kind}") for kind in ("pdf", "png", "csv")}
        save(figure, outputs, pd.DataFrame({"x": [1]}))
        written.append([(tmp_path / f"{run}.{kind}").read_bytes() for kind in outputs])
    assert written[0] == written[1]
    assert written[0][0].startswith(b"%PDF")
    assert written[0][1].startswith(b"\x89PNG")


def test_axes_have_the_measures_name_and_unit():
    table = make_reasoning("p_matching")
    assert "p(matching) (share)" in " ".join(
        said(conditions.reasoning(table, make_first_order())).split()
    )
    table = make_system_prompts(measure="p_matching")
    assert "p(matching) (share)" in said(conditions.system_prompts(table, make_first_order()))
    assert "logit difference (nats)" in said(
        conditions.system_prompts(make_system_prompts(), make_first_order())
    )


def alone(table):
    """The rows of one behaviour."""
    return table[table["behavior"] == "optimism"]


@pytest.mark.parametrize("name", ["layer_sweep", "dose_response", "heatmap", "steerability"])
def test_the_name_of_an_axis_fits_beside_one_behaviours_panels(name):
    tables = {key: alone(table) for key, table in make_effects().items()}
    given = {
        "layer_sweep": ("layer_sweep", "steerability", "first_order"),
        "heatmap": ("heatmap", "first_order"),
        "steerability": ("steerability_items", "steerability"),
    }.get(name, (name,))
    figure = getattr(effects, name)(*(tables[key] for key in given))
    figure.draw_without_rendering()
    named = [text for text in (figure._supylabel, figure._supxlabel) if text]
    named += [label for ax in figure.axes for label in (ax.xaxis.label, ax.yaxis.label)]
    for text in named:
        box = text.get_window_extent()
        assert box.y0 >= 0, text
        assert box.y1 <= figure.bbox.y1, text


def test_of_one_behaviour_alone_completions_of_several_questions_are_shown():
    table = make_completions()
    assert said(texts.completions(table)).count("How will it go") == len(BEHAVIORS)
    assert said(texts.completions(alone(table))).count("How will it go") == 2
    many = pd.concat([alone(table).assign(prompt_id=f"p{n}", question=f"{n}?") for n in range(5)])
    shown = said(texts.completions(many))
    assert [f"{n}?" in shown for n in range(5)] == [True] * 3 + [False] * 2


def test_where_no_block_stands_out_the_panel_says_so(tmp_path):
    tables = make_effects()
    kept = []
    for name in ("layer_sweep", "steerability", "first_order"):
        write_table(tmp_path / f"{name}.csv", tables[name])
        kept.append(read_table(tmp_path / f"{name}.csv"))
    # both behaviours' letters
    assert said(effects.layer_sweep(*kept)).count(")\nno block stands out") == 2
    kept[1] = kept[1].assign(stands_out=np.nan)
    assert ")\nno block" not in said(effects.layer_sweep(*kept))


def test_a_change_that_controls_make_as_well_has_a_dot():
    tables = make_effects()
    first_order = tables["first_order"].assign(random_low=0, random_high=0)
    narrow = first_order.assign(shuffled_low=-1e-9, shuffled_high=1e-9)
    wide = first_order.assign(shuffled_low=-1e9, shuffled_high=1e9)
    dots = [said(effects.heatmap(tables["heatmap"], one)).count("·") for one in (narrow, wide)]
    # the unsteered column is within any band
    assert dots[0] < dots[1]


def test_the_anti_steerable_share_stands_in_its_figure():
    items, table = make_steerability()
    own = items[(items["direction"] == BEHAVIOR) & (items["contrast"] == "answers")]
    share = (own[own["behavior"] == "optimism"]["slope"] < 0).mean()
    assert f"anti-steerable {share:.0%} [" in said(effects.steerability(items, table))


def test_a_missing_system_prompt_is_named_in_the_figure():
    for missing in (("for",), ("for", "against")):
        shown = said(conditions.system_prompts(make_system_prompts(missing), make_first_order()))
        assert all(f"'{name}': n = 0" in shown for name in missing)


def test_too_few_items_to_compare_is_said_in_the_figure():
    assert "n = 0" in said(convergence.several_or_one(make_convergence(items=200)))


def test_words_stay_whole_where_they_fit_a_line():
    tokens = ["The", " insur", "ance", " firm", " is", " here"]
    placed, rows = texts._place(tokens, 12)
    assert "".join(text for _, _, text in placed) == "".join(tokens)
    lines = ["".join(text for row, _, text in placed if row == r) for r in range(rows)]
    assert lines == ["The", " insurance", " firm is", " here"]
    # a word longer than the line is broken between its tokens
    placed, rows = texts._place(["abcdef"] * 5, 12)
    assert rows == 3


def test_matplotlibs_own_fonts_are_drawn_with_whatever_is_noted_of_the_machines(tmp_path):
    own = Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    fonts = copy.copy(fontManager)
    systems = Path(shutil.copy(own, tmp_path))
    fonts.ttflist = []
    fonts.addfont(systems)
    assert Path(fonts.findfont("DejaVu Sans")) == systems.resolve()
    own_fonts_first(fonts)
    assert Path(fonts.findfont("DejaVu Sans")) == own.resolve()
    found = {Path(font.fname) for font in fonts.ttflist}
    assert found == {systems, *own.parent.glob("*.ttf")}


def test_fonts_that_are_noted_are_left_in_their_order():
    fonts = copy.copy(fontManager)
    fonts.ttflist = [*fontManager.ttflist]
    own_fonts_first(fonts)
    assert fonts.ttflist == fontManager.ttflist
