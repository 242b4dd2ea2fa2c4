"""Figures of one, few and many behaviours: each is one page, and says how many it shows."""

import re
from importlib import import_module
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, mostly_long
from many_tables import TABLES, dose_response, heatmap, layer_sweep, names, norms, steerability
from matplotlib import pyplot as plt
from test_figures import said

import figure as script
from steerpaper.plots import many, many_effects, many_vectors
from steerpaper.plots.pages import MANY, pages
from steerpaper.plots.style import readable, save
from steerpaper.steering.conditions import BEHAVIOR
from steerpaper.workflow.declared import rows_of

FIGURES = {
    name: row
    for name, row in rows_of(ROOT / "report/figures.yaml").items()
    if row["category"] == "Steering"
}
# one of each form for many
QUICK = ("heatmap", "transfer", "cosine_behaviors", "norms", "completions")
QUICK += ("ratings", "system_prompts", "cost", "prompt_kinds", "benchmarks")
NUMBERS = mostly_long((1, 3, MANY, MANY + 1, 135), 135)
WIDE, HIGH = 7.0, 11.0  # inches: a page of a paper across, and a sheet
# panels of each form for many, colour bars too: of two contrasts, three blocks or system prompts
PANELS = {
    "layer_sweep": 2,
    "dose_response": 2,
    "transfer": 4,
    "estimators": 2,
    "cosine_blocks": 4,
    "cosine_behaviors": 5,
    "norms": 2,
    "convergence": 2,
    "several_or_one": 1,
    "ratings": 2,
    "logprob_shift": 4,
    "reasoning": 1,
    "system_prompts": 3,
    "propensity": 3,
    "prompt_kinds": 6,
    "cost": 3,
    "benchmarks": 4,
}


def function(name):
    """A function that a row names."""
    if name is None:
        return None
    module, _, called = name.rpartition(".")
    return getattr(import_module(f"steerpaper.plots.{module}"), called)


def drawn(name, tables, further=False):
    """A figure's pages, as the rule has them."""
    row = FIGURES[name]
    draw, draw_many = function(row["draw"]), function(row.get("many"))
    cut = "panels" in row
    return pages(draw, draw_many, [*map(readable, tables)], cut=cut, further=further)


def written(figures, folder, name):
    """The files of a figure's pages, read: PDF and PNG."""
    paths = {kind: str(folder / f"{name}.{kind}") for kind in ("pdf", "png", "csv")}
    save(next(figures), paths, norms(1)[0], figures)
    return [(folder / f"{name}.{kind}").read_bytes() for kind in ("pdf", "png")]


def page_count(pdf):
    return len(re.findall(rb"/Type /Page\b", pdf))


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_every_figure_of_behaviors_is_drawn_here():
    assert FIGURES.keys() == TABLES.keys()


@pytest.mark.parametrize("n", NUMBERS)
@pytest.mark.parametrize("name", mostly_long(FIGURES, *QUICK))
def test_a_figure_of_any_number_of_behaviors_is_one_page(tmp_path, name, n):
    tables = TABLES[name](n)
    (figure,) = drawn(name, tables)
    pdf, png = written(iter([figure]), tmp_path, name)
    assert pdf.startswith(b"%PDF")
    assert page_count(pdf) == 1
    assert png.startswith(b"\x89PNG")
    texts = said(figure)
    if n <= MANY:
        assert all(one in texts for one in names(n))
        assert "behaviours" not in texts
    else:
        assert figure.get_figwidth() <= WIDE
        assert figure.get_figheight() <= HIGH
        assert f"{n} behaviours" in texts or f"behaviours 1 to {MANY} of {n}" in texts
    if n > MANY and name in PANELS:
        assert len(figure.axes) == PANELS[name]


@pytest.mark.long
@pytest.mark.parametrize("name", FIGURES)
def test_of_few_behaviors_figures_are_what_they_are_without_a_form_for_many(tmp_path, name):
    tables = TABLES[name](3)
    plain = function(FIGURES[name]["draw"])(*map(readable, tables))
    expected = written(iter([plain]), tmp_path, "plain")
    assert written(drawn(name, tables, further=True), tmp_path, "pages") == expected


def test_of_few_behaviors_the_only_page_is_what_is_drawn_and_a_form_for_many_is_not_asked():
    (table,) = dose_response(3)
    figure = plt.figure()
    for form, cut in ((None, True), (pytest.fail, True), (pytest.fail, False)):
        assert list(pages(lambda _: figure, form, [table], cut=cut, further=True)) == [figure]
    assert not figure.get_children()[1:]


@pytest.mark.parametrize(
    "name",
    mostly_long(["steerability", "cosine_behaviors", "cost", "projection"], "cost"),
)
def test_many_behaviors_pages_are_the_same_bytes_when_drawn_again(tmp_path, name):
    once, again = (
        written(drawn(name, TABLES[name](10), further=True), tmp_path, run) for run in ("a", "b")
    )
    assert once == again


# of the quick ones one has a form for many
@pytest.mark.parametrize(
    "name",
    mostly_long([name for name, row in FIGURES.items() if "panels" in row], "norms", "projection"),
)
def test_on_request_every_behaviors_panels_are_on_further_pages(name):
    n = 10
    figures = list(drawn(name, TABLES[name](n), further=True))
    if "many" in FIGURES[name]:
        figures = figures[1:]
    shown = 0
    for figure in figures:
        assert figure.get_figheight() <= HIGH
        first, last = map(
            int, re.search(rf"behaviours (\d+) to (\d+) of {n}", said(figure)).groups()
        )
        assert first == shown + 1
        assert last - first < MANY
        assert all(one in said(figure) for one in names(n)[shown:last])
        shown = last
    assert shown == n


@pytest.mark.parametrize(("asked", "expected"), [(False, 1), (True, 3)])
def test_the_pdf_has_the_pages_that_the_configuration_asks_for(tmp_path, asked, expected):
    (table,) = dose_response(9)
    table.to_csv(tmp_path / "table.csv", index=False)
    row = FIGURES["dose_response"]
    outputs = {kind: str(tmp_path / f"figure.{kind}") for kind in ("pdf", "png", "csv")}
    settings = {"draw": f"plots.{row['draw']}", "many": f"plots.{row['many']}", "tables": ["table"]}
    settings |= {"measured": ["table"], "measure": "logit_diff", "blocks": None}
    script.main(
        SimpleNamespace(
            params={**settings, "cut": True, "panels": asked},
            input={"table": str(tmp_path / "table.csv")},
            output=outputs,
            wildcards={},
        )
    )
    assert page_count((tmp_path / "figure.pdf").read_bytes()) == expected


def labelled(ax, label):
    """The line of an axes' legend entry."""
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line


def test_the_thick_line_is_the_median_and_each_behavior_has_a_thin_one():
    (table,) = dose_response(9)
    ax = many_effects.dose_response(table).axes[0]
    own = table[(table["direction"] == BEHAVIOR) & (table["contrast"] == "answers")]
    expected = own.groupby("multiplier")["change"].median()
    np.testing.assert_allclose(labelled(ax, "vector, median").get_ydata(), expected)
    thin = [tuple(line.get_ydata()) for line in ax.get_lines() if line.get_linewidth() == 0.5]
    each = [tuple(one.sort_values("multiplier")["change"]) for _, one in own.groupby("behavior")]
    assert sorted(thin) == sorted(each)


def test_the_controls_band_is_as_wide_as_the_widest_of_them():
    table, chosen, first_order = layer_sweep(9)
    dev = first_order[(first_order["split"] == "dev") & (first_order["contrast"] == "answers")]
    ax = many_effects.layer_sweep(table, chosen, first_order).axes[0]
    (band,) = [area for area in ax.collections if area.get_label() == "random"]
    y = band.get_paths()[0].vertices[:, 1]
    assert y.min() == dev["random_low"].min()
    assert y.max() == dev["random_high"].max()


def test_a_flagged_behavior_is_counted_and_its_row_marked():
    items, table = steerability(9)
    table = table.assign(flags=None)
    flagged = (table["behavior"] == names(9)[4]) & (table["contrast"] == "letters")
    table.loc[flagged, "flags"] = "few items"
    figure = many_effects.steerability(items, table)
    answers, letters = figure.axes
    assert "†" not in said(answers)
    assert "1†" in letters.get_title()
    order = [label.get_text() for label in answers.get_yticklabels()]
    marks = [text for text in letters.texts if text.get_text() == "†"]
    assert [order[int(mark.get_position()[1])] for mark in marks] == [names(9)[4]]
    assert "† few items" in said(figure)


@pytest.mark.parametrize("n", [40, 135])
def test_rows_are_sorted_by_slope_and_each_behavior_has_one_with_its_interval(n):
    items, table = steerability(n)
    figure = many_effects.steerability(items, table)
    answers = figure.axes[::2]
    shown = [label.get_text() for ax in answers for label in ax.get_yticklabels()]
    lead = table[table["contrast"] == "answers"].set_index("behavior")
    assert shown == list(lead["slope"].sort_values(ascending=False).index)
    for ax in answers:
        order = [label.get_text() for label in ax.get_yticklabels()]
        (bars,) = ax.containers[-1].lines[2]
        ends = np.array([line[:, 0] for line in bars.get_segments()])
        np.testing.assert_allclose(ends, lead.loc[order, ["low", "high"]])


def test_a_behaviors_controls_band_is_the_range_of_their_mean_slopes():
    items, table = steerability(9)
    ax = many_effects.steerability(items, table).axes[0]
    first = ax.get_yticklabels()[0].get_text()
    here = items[(items["behavior"] == first) & (items["contrast"] == "answers")]
    random = here[here["direction"].str.startswith("random-")]
    means = random.groupby("direction")["slope"].mean()
    (bars,) = [bars for bars in ax.containers if bars.get_label() == "random"]
    assert bars[0].get_x() == pytest.approx(means.min())
    assert bars[0].get_x() + bars[0].get_width() == pytest.approx(means.max())


def test_a_dot_marks_a_change_within_the_controls_of_its_own_behavior():
    table, first_order = heatmap(9)
    ends = [f"{kind}_{end}" for kind in ("random", "shuffled") for end in ("low", "high")]
    narrow, wide = (first_order.assign(**dict.fromkeys(ends, size)) for size in (0.0, 1e9))
    one = names(9)[3]
    mixed = narrow.where(narrow["behavior"] != one, wide)
    found = {}
    for name, bands in {"none": narrow, "all": wide, "one": mixed}.items():
        ax = many_effects.heatmap(table, bands).axes[0]
        (points,) = ax.get_lines()
        rows = [label.get_text() for label in ax.get_yticklabels()]
        found[name] = [rows[row] for row in points.get_ydata()]
    blocks = table["layer"].nunique()
    assert found["none"] == []
    assert len(found["all"]) == 9 * blocks
    assert found["one"] == [one] * blocks


def test_behaviors_that_are_alike_stand_beside_each_other_in_the_matrix():
    (table,) = TABLES["cosine_behaviors"](40)
    order = many_vectors._clustered(table)
    assert sorted(order) == sorted(names(40))
    # every fourth behaviour is of one group, whose vectors are alike
    groups = [int(name.split()[-1]) % 4 for name in order]
    changes = sum(one != other for one, other in pairwise(groups))
    assert changes == 3
    figure = many_vectors.cosine_behaviors(table)
    assert not any(re.fullmatch(r"-?0\.\d\d", text) for text in said(figure.axes[0]).split())
    assert all(f"{place}  {name}" in said(figure) for place, name in enumerate(order, 1))


def test_behaviors_without_a_vector_have_a_place_in_the_matrix():
    (table,) = TABLES["cosine_behaviors"](9)
    table.loc[(table["behavior"] == names(9)[0]) | (table["other"] == names(9)[0]), "cosine"] = None
    assert names(9)[0] in said(many_vectors.cosine_behaviors(table))


def test_a_behavior_without_a_number_leaves_a_gap_and_the_others_their_median():
    _, ax = plt.subplots()
    (table,) = dose_response(9)
    own = table[(table["direction"] == BEHAVIOR) & (table["contrast"] == "answers")].copy()
    own.loc[own["behavior"] == names(9)[0], "change"] = np.nan
    many.lines(ax, own, "multiplier", "change", color="k", label="median")
    expected = own.groupby("multiplier")["change"].median()
    np.testing.assert_allclose(labelled(ax, "median").get_ydata(), expected)
