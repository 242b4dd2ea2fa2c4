"""Texts of prompts and models in figures, pages and LaTeX: whatever they are, they stay texts."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import mostly_long
from hypothesis import example, given, settings
from hypothesis import strategies as st
from makers import make_completions, make_cost, make_projection
from markdown_it import MarkdownIt
from matplotlib.text import Text

from steerpaper.lookups.tables.neurons import neuron_page
from steerpaper.plots import conditions, heads, texts
from steerpaper.plots.style import legend, panels, readable, save
from steerpaper.shown import LINE_END, UNSHOWN, as_latex, as_markdown, one_line, plain, shortened
from steerpaper.steering.tables.latex import Headline, latex_table
from steerpaper.steering.tables.page import completions_page

NASTY = [
    *("$$", "$\\frac$", "_$_$", "{", "\\", "$x^{2$", "_hidden", "\\$5 or $6", "^", "%s %d {0}"),
    *("a\nb", "\r\n", "\x00\x07\x1b[31m", "\u202eabc\u202c", "\ue000", "\U0001f9c9\u200d", "中文"),
    *("x" * 500, "", " ", "\t", "e\u0301\u0301", "\u2028", "A & B # 50% ~ |", "-1", "None", "nan"),
    *("<script>alert(1)</script>", "</td><img src=x>", "# no heading", "| --- | --- |", "```", "`"),
    *(
        "[a](javascript:b)",
        "![x](y)",
        "**bold** _it_ ~~no~~",
        "&lt;&amp;",
        "--- \n===",
        "1. a\n- b",
    ),
    *("\\|", "\\\\", "|", "a``b```c", "<!-- x", "http://a.b/c?d=e", "\\end{tabular}", "\\input{x}"),
]
# tables hold no lone surrogates
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TEXTS = st.lists(ANY | st.sampled_from(NASTY), min_size=1, max_size=12)
FEW = settings(max_examples=2, deadline=None, derandomize=True)


def filled(table, columns, found):
    """The table with texts in some columns, one after the other."""
    return table.assign(
        **{name: [found[n % len(found)] for n in range(len(table))] for name in columns}
    )


def named(table, column, found):
    """The table with other names of what it is about."""
    names = {old: f"{found[n % len(found)]}·{n}" for n, old in enumerate(table[column].unique())}
    return table.assign(**{column: table[column].map(names)})


def projection(found):
    return texts.projection(readable(filled(make_projection(), ["text"], found)))


def completions(found):
    table = named(make_completions(), "question", found)
    return texts.completions(readable(filled(table, ["text"], found)))


def head_attribution(found):
    rows = [
        {"neurons": name, "head_layer": layer, "head": head, "n": 3}
        for name in ("all next_token", *(f"2.{n} ({one!r})" for n, one in enumerate(found[:3])))
        for layer in range(2)
        for head in range(2)
    ]
    table = pd.DataFrame(rows).assign(attribution=0.5, active=0.25)
    return heads.head_attribution(readable(table))


def published(found):
    rows = [
        {"quantity": "score", "neurons": "random", "model": one, "source": "ours", "value": 0.5}
        for one in found
    ]
    return heads.published(readable(pd.DataFrame(rows).assign(n=1, sd=0.1, p=0.2)))


def cost(found):
    return conditions.cost(readable(named(make_cost(), "behavior", found)))


DRAWN = [projection, completions, head_attribution, published, cost]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.filterwarnings("ignore:constrained_layout")
@pytest.mark.parametrize("draw", mostly_long(DRAWN, projection, cost))
def test_a_figure_of_any_texts_is_drawn_and_saved(draw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    outputs = {kind: str(folder / f"figure.{kind}") for kind in ("pdf", "png", "csv")}

    @FEW
    @example(NASTY)
    @example([*reversed(NASTY)])
    @example(["$$", "$\\frac$", "_$_$"])
    @given(TEXTS)
    def drawn(found):
        save(draw(found), outputs, pd.DataFrame({"x": [1]}))

    drawn()


def said(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_figures_show_a_text_as_it_is():
    assert {"$$", "_$_$", "$\\frac$", "a↵b"} <= set(
        said(projection(["$$", "_$_$", "$\\frac$", "a\nb"]))
    )
    assert any("$x_1$" in one for one in said(completions(["$x_1$"])))
    assert any("$\\\\frac$" in one for one in said(head_attribution(["$\\frac$"])))
    for draw in DRAWN:
        assert not any(text.get_parse_math() for text in draw(["$$"]).findobj(Text))


def test_a_long_token_keeps_within_its_panel_and_its_line():
    assert all(
        len(line) <= 40 for one in said(head_attribution(["x" * 300])) for line in one.split("\n")
    )
    placed, _ = texts._place(["a", "x" * 500, "b"], 12)
    assert max(column + len(text) for _, column, text in placed) <= 12


def test_an_empty_completion_is_said_to_be_empty():
    table = make_completions().assign(text=np.nan)
    assert "(empty)" in said(texts.completions(table))


def test_legends_show_names_that_begin_with_an_underscore():
    table = readable(pd.DataFrame({"behavior": ["_tea", "mate"], "text": ["_a", "b"]}))
    figure, (ax,) = panels(["x"])
    for name in table["behavior"]:
        ax.plot([0, 1], [0, 1], label=name)
    legend(figure, [ax], 2)
    shown = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert shown == ["_tea", "mate"]
    assert list(table["text"]) == ["_a", "b"]


def test_what_has_no_look_of_its_own_is_one_mark_each():
    assert (
        plain("a\x07b\u202ec\ud800d\u200be\u00a0f\tg")
        == f"a{UNSHOWN}b{UNSHOWN}c{UNSHOWN}d{UNSHOWN}e f g"
    )
    assert plain("a\r\nb\u2028c\x85d") == "a\nb\nc\nd"
    assert one_line("  a\n\n b ") == "a b"
    assert (shortened("abcd", 4), shortened("abcde", 4)) == ("abcd", "abc…")
    assert plain(LINE_END) == LINE_END


# Markdown

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
INLINE = {"text", "text_special"}


def cells(page):
    """Of a page its headings and its tables' rows, as texts; nothing else but texts is in them."""
    found, row = {"headings": [], "rows": []}, None
    kinds = set()
    tokens = MARKDOWN.parse(page)
    for before, token in zip([None, *tokens], tokens, strict=False):
        kinds.add(token.type)
        if token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            found["rows"].append(row)
        elif token.type == "inline":
            assert {child.type for child in token.children} <= INLINE, token.content
            text = "".join(child.content for child in token.children)
            if before.type == "heading_open":
                found["headings"].append((before.tag, text))
            else:
                row.append(text)
    blocks = {"heading", "table", "thead", "tbody", "tr", "th", "td"}
    assert {kind.rpartition("_")[0] for kind in kinds - {"inline"}} <= blocks
    return found


@settings(deadline=None, derandomize=True)
@example(NASTY)
@given(TEXTS)
def test_completions_are_a_page_of_headings_and_tables_whatever_the_texts(found):
    questions = [f"{one} ({number})" for number, one in enumerate(found)]
    table = pd.DataFrame(
        {
            "behavior": "te_a",
            "layer": 2,
            "question": questions,
            "multiplier": -1.0,
            "decoding": "greedy",
            "sample": 0,
            "text": found,
        }
    )
    read = cells(completions_page(table))
    assert read["headings"] == [
        ("h1", "Steered completions"),
        ("h2", "te_a, block 2"),
        *(("h3", one_line(question)) for question in questions),
    ]
    head = ["multiplier", "decoding", "completion"]
    assert read["rows"] == [row for one in found for row in (head, ["-1", "greedy", one_line(one)])]


@settings(deadline=None, derandomize=True)
@example(NASTY)
@given(TEXTS)
def test_neurons_are_a_page_of_headings_and_lists_whatever_the_texts(found):
    rows = [
        {"layer": 1, "neuron": number, "kind": "random", "token": one, "congruence": 0.5}
        | {"prompt_rank": 1, "prompt": one, "activation": 1.0}
        for number, one in enumerate(found)
    ]
    tokens = MARKDOWN.parse(neuron_page(pd.DataFrame(rows), 3))
    inline = [
        (before.type, token)
        for before, token in zip([None, *tokens], tokens, strict=False)
        if token.type == "inline"
    ]
    headings = [token.children for kind, token in inline if kind == "heading_open"][1:]
    assert [[child.type for child in one] for one in headings] == [["text", "code_inline"]] * len(
        found
    )
    assert [one[1].content for one in headings] == [one_line(repr(one)) for one in found]
    prompts = [token.children for kind, token in inline if kind == "paragraph_open"][1:]
    prompts = [one for one in prompts if not one[0].content.startswith("Congruence")]
    assert all({child.type for child in one} <= INLINE for one in prompts)
    texts_ = ["".join(child.content for child in one) for one in prompts]
    assert texts_ == [f"(1.00) {one_line(one)}".strip() for one in found]


def test_markdown_is_escaped_only_where_it_has_a_meaning():
    assert as_markdown("It's 5 (or 6) - e.g. tea!") == "It's 5 (or 6) - e.g. tea!"
    assert as_markdown("a|b <i>*x*") == "a\\|b \\<i\\>\\*x\\*"


# LaTeX

COMMANDS = "|".join(
    [
        *(re.escape(f"\\{one}") for one in "&%$#_{}"),
        *(rf"\\text{name}\{{\}}" for name in ("backslash", "less", "greater", "bar", "quotedbl")),
        *(r"\\textasciitilde\{\}", r"\\textasciicircum\{\}", r"\$-\$", "--"),
    ]
)


@example("".join(NASTY))
@given(st.text())
def test_latex_has_no_character_with_a_meaning_left(text):
    left = re.sub(COMMANDS, "", as_latex(text))
    assert not set(left) & set('\\&%$#_{}~^<>|"\n\r')


@settings(deadline=None, derandomize=True)
@example(NASTY)
@given(TEXTS)
def test_a_latex_table_has_its_rows_and_columns_whatever_its_labels(found):
    headline = Headline("caption", {"behavior": "Behaviour"}, {"Slope": ("slope", "low", "high")})
    table = pd.DataFrame({"behavior": found, "slope": 1.0, "low": 0.5, "high": 1.5})
    source = latex_table(table, headline, "x")
    body = source.split("\\midrule")[1].split("\\bottomrule")[0].strip("\n").splitlines()
    assert len(body) == len(found)
    for line, text in zip(body, found, strict=True):
        assert line == f"{as_latex(text)} & 1.00 [0.50, 1.50] \\\\"


def test_a_number_in_latex_has_a_minus_sign_and_a_name_its_hyphen():
    assert as_latex("-1.5 [-2.0, -1.0]") == "$-$1.5 [$-$2.0, $-$1.0]"
    assert as_latex("1e-05") == "1e$-$05"
    assert as_latex("gpt-4") == "gpt-4"
