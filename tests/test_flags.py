"""What is doubtful is marked where the number stands, and nowhere else."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from makers import (
    BLOCK,
    make_cost,
    make_first_order,
    make_propensity,
    make_reasoning,
    make_system_prompts,
)
from matplotlib.text import Text

from steerpaper.engine.condition import Condition
from steerpaper.engine.rope import Stretch
from steerpaper.flags import FLAGS, few, flags_table, joined
from steerpaper.plots import conditions
from steerpaper.plots.style import dagger, flag_marks, panels, readable
from steerpaper.stats import Interval, mean_interval
from steerpaper.steering.beyond import with_beyond
from steerpaper.steering.conditions import BEHAVIOR, NO_LAYER, UNSTEERED
from steerpaper.steering.cost import knowledge_rows
from steerpaper.steering.scores import norm_at, score_prompts, with_norms
from steerpaper.steering.tables.completions import label_shares
from steerpaper.steering.tables.cost import cost_table
from steerpaper.steering.tables.fixed_completions import logprobs_table
from steerpaper.steering.tables.flags import effect_flags
from steerpaper.steering.tables.judged_labels import judged_labels_tables
from steerpaper.steering.tables.ratings import ratings_tables
from steerpaper.workflow.files import read_table, write_table
from steerpaper.workflow.flagged import print_flags

INTERVAL = Interval(seed=1, resamples=200, confidence=0.95)


def items_of(n=30, mass=0.9, letters="AB"):
    """Unsteered rows of n items."""
    return pd.DataFrame(
        {
            "prompt_id": [f"p{number}" for number in range(n)],
            "matching": [
                letters[number % len(letters)] if letters else None for number in range(n)
            ],
            "ab_mass": np.full(n, mass),
        }
    )


def steered(norm=2.0):
    return pd.DataFrame({"norm": [norm, norm]})


def test_a_number_that_nothing_is_doubtful_about_has_no_flag():
    assert effect_flags(items_of(), steered(), BLOCK) == ""
    assert effect_flags(items_of(), steered(), BLOCK | {"stands_out": True}) == ""
    # answers have no letters, and the unsteered run no vector
    assert effect_flags(items_of(mass=np.nan, letters=""), steered(np.nan), BLOCK) == ""
    # of 31 items one letter has one more
    assert effect_flags(items_of(31), steered(), BLOCK) == ""


@pytest.mark.parametrize(
    ("items", "norm", "stands_out", "flags"),
    [
        (items_of(), 0.0, True, "zero vector"),
        (items_of(mass=0.49), 2.0, True, "low mass"),
        (items_of(letters="AAB"), 2.0, True, "unbalanced"),
        (items_of(letters="A"), 2.0, True, "unbalanced"),
        (items_of(), 2.0, False, "no block stands out"),
        (items_of(18), 2.0, True, "few items"),
        (items_of(4), 2.0, True, "no interval"),
        (items_of(18, mass=0.1), 0.0, True, "zero vector; low mass; few items"),
    ],
)
def test_each_flag_stands_where_its_cause_is_and_no_other(items, norm, stands_out, flags):
    assert effect_flags(items, steered(norm), BLOCK | {"stands_out": stands_out}) == flags


def test_a_chosen_block_that_does_not_stand_out_says_nothing_of_the_unsteered_run():
    none = BLOCK | {"stands_out": False}
    assert effect_flags(items_of(), steered(np.nan), none) == ""


def test_prompts_and_not_rows_are_counted():
    items = pd.concat([items_of(10)] * 5)
    assert effect_flags(items, steered(), BLOCK) == "few items"


@pytest.mark.parametrize("n", [1, 4, 5, 19, 20, 40])
def test_few_items_are_flagged_as_their_interval_is_made(n):
    values = np.random.default_rng(n).normal(size=n)
    _, low, _ = mean_interval(values, INTERVAL)
    assert (few(n) == ["no interval"]) == bool(np.isnan(low))
    assert (few(n) == ["few items"]) == (5 <= n < 20)
    assert few(0) == []


def test_flags_are_joined_once_in_one_order_and_unknown_ones_are_refused():
    assert joined("few items", "low mass", "few items") == "low mass; few items"
    assert joined() == ""
    with pytest.raises(ValueError, match="lowmass"):
        joined("lowmass")


def test_the_norm_beside_a_score_is_that_of_what_is_added():
    vectors = {"behavior": np.diag([0.0, 2.0, 3.0, 4.0])}
    wanted = [Condition(layers, "behavior", 1.0) for layers in ((0,), (1,), (2, 3))]
    table = pd.DataFrame(
        {
            "direction": [UNSTEERED, "behavior", "behavior", "behavior"],
            "layers": ["", "0", "1", "2+3"],
        }
    )
    np.testing.assert_array_equal(with_norms(table, vectors, wanted)["norm"], [np.nan, 0, 2, 5])
    assert norm_at(vectors["behavior"], (2, 3)) == 5


def test_questions_by_letter_that_the_model_does_not_answer_are_flagged():
    wanted = [Condition((1,), "behavior", 1.0)]
    for contrast, flags in (("letters", "low mass"), ("answers", "")):
        prompts = [{"id": f"q{number}", "contrast": contrast} for number in range(24)]
        scores = np.full((24, 2), np.log(0.2))
        rows = knowledge_rows(prompts, wanted, scores, scores[:, None])
        table = cost_table(rows.assign(norm=1.0), BLOCK, interval=INTERVAL)
        assert set(table["flags"]) == {flags}


def test_texts_beyond_the_positions_that_a_model_was_trained_at_are_flagged(load_tiny):
    lm = load_tiny("llama")
    prompts = [
        {"id": f"p{n}", "behavior": "b", "split": "test", "contrast": "answers", "side": None}
        | {"ids": [5] * (8 + n), "matching_ids": [6, 7], "other_ids": [8]}
        for n in range(24)
    ]
    wanted = [Condition((1,), "behavior", 1.0)]
    vectors = {"behavior": np.ones((lm.n_layers, lm.width), dtype=np.float32)}
    for stretch, beyond in (
        (None, 0),
        # the longest is 31 tokens with its answer, 33 with the longer one
        (Stretch("linear", 33), 0),
        (Stretch("linear", 30), 3),
    ):
        one = replace(lm, _shared={"stretch": stretch})
        table = score_prompts(one, prompts, vectors, wanted, budget=400)
        assert table.groupby("prompt_id")["beyond_scaling"].any().sum() == beyond
        items = table[table["direction"] == UNSTEERED]
        flags = effect_flags(items, table[table["direction"] != UNSTEERED], BLOCK)
        assert flags == ("beyond context scaling" if beyond else "")


def test_of_a_model_that_is_not_stretched_no_file_has_another_column(load_tiny):
    table = pd.DataFrame({"item": ["a", "a", "b", "b"]})
    assert with_beyond(table, load_tiny("llama"), [5, 9]) is table
    one = replace(load_tiny("llama"), _shared={"stretch": Stretch("linear", 8)})
    assert with_beyond(table, one, [5, 9])["beyond_scaling"].tolist() == [False, False, True, True]
    assert list(with_beyond(table.iloc[:0], one, [])) == ["item"]


def beyond_of(table, rows):
    """Scores of which some rows are of texts beyond the positions that were not stretched."""
    return table.assign(beyond_scaling=rows)


BEYOND = {
    "logprobs": lambda: logprobs_table(
        {"calm": [beyond_of(fixed().assign(contrast="letters"), fixed()["prompt_id"] == "p3")]},
        {("calm", "letters"): BLOCK},
        interval=INTERVAL,
    ),
    "completion_labels": lambda: label_shares(
        beyond_of(sampled(), sampled()["multiplier"] == 1),
        {"markers": {"matching": ["hope"], "other": []}, "negators": None},
        {},
        interval=INTERVAL,
    ),
}


@pytest.mark.parametrize("name", BEYOND)
def test_completions_beyond_a_models_own_positions_are_flagged_where_they_stand(name):
    table = with_numbers(BEYOND[name]())
    found = table["flags"] == "beyond context scaling"
    assert found.tolist() == (table["multiplier"].eq(1) | (name == "logprobs")).tolist()


def test_a_chain_of_thought_may_be_longer_than_the_unsteered_one():
    items, own = items_of(), steered().assign(beyond_scaling=[False, True])
    assert effect_flags(items, own, BLOCK) == "beyond context scaling"
    assert effect_flags(items, own.head(1), BLOCK) == ""


def test_shares_of_few_questions_are_flagged():
    samples = pd.DataFrame({"prompt_id": ["p", "q"], "layer": 1, "multiplier": 1.0, "text": "hope"})
    samples = samples.assign(decoding="greedy", sample=0)
    about = {"markers": {"matching": ["hope"], "other": ["doom"]}, "negators": None}
    assert set(label_shares(samples, about, {}, interval=INTERVAL)["flags"]) == {"no interval"}


def sampled():
    """Completions of 24 questions, unsteered and steered."""
    rows = [
        {"prompt_id": f"q{question}", "layer": 12 if m else NO_LAYER, "multiplier": m}
        for question in range(24)
        for m in (-1.0, 0.0, 1.0)
    ]
    return pd.DataFrame(rows).assign(decoding="greedy", sample=0, text="hope")


def fixed():
    """Log-probabilities of fixed completions of 24 prompts at the chosen block and at another."""
    rows = []
    for prompt, label in product(range(24), ("matching", "other")):
        about = {"prompt_id": f"p{prompt}", "label": label, "completion_id": 0, "count": 1}
        for layers in ("", "12", "15"):
            one = {"direction": BEHAVIOR if layers else UNSTEERED, "layers": layers}
            one |= {"layer": int(layers or NO_LAYER), "multiplier": 1.0 if layers else 0.0}
            rows.append(about | one | {"logprob": -9.0, "change": float(bool(layers)) * prompt})
    return pd.DataFrame(rows).assign(form="free", side=None)


def with_numbers(table):
    """The rows that rest on something: of a label that no completion has there is no number."""
    without = table[table["n_prompts"] == 0] if "n_prompts" in table else table.head(0)
    assert set(without["flags"]) <= {""}
    return table.drop(index=without.index)


# tables of what is steered at the chosen block alone, and of what is steered elsewhere too
OF_BLOCK = {
    "completion_labels": lambda block: label_shares(
        sampled(),
        {"markers": {"matching": ["hope"], "other": []}, "negators": None},
        block,
        interval=INTERVAL,
    ),
    "ratings": lambda block: ratings_tables(
        sampled().assign(judge="m", rating=3.0, lowest=0.0, highest=10.0, **{"pass": 1}),
        block,
        interval=INTERVAL,
    )["ratings"],
    "judged_labels": lambda block: judged_labels_tables(
        sampled().assign(judge="m", label="matching").drop(columns="text"),
        sampled(),
        {"markers": {"matching": ["hope"], "other": []}, "negators": None},
        block,
        interval=INTERVAL,
    )["judged_labels"],
    "logprobs": lambda block: logprobs_table(
        {"calm": [pd.concat([fixed().assign(contrast=one) for one in ("answers", "letters")])]},
        {("calm", "answers"): BLOCK, ("calm", "letters"): block},
        interval=INTERVAL,
    ).query("contrast == 'letters'"),
}


@pytest.mark.parametrize("name", OF_BLOCK)
@pytest.mark.parametrize(
    ("known", "flags"),
    [
        ({"stands_out": True, "norm_share": 0.1}, ""),
        ({"stands_out": False, "norm_share": 0.1}, "no block stands out"),
        ({"stands_out": False, "norm_share": 0.0}, "zero vector; no block stands out"),
        # a block that the configuration gives has stood beside no other
        ({"norm_share": None}, ""),
    ],
)
def test_tables_without_norms_take_from_the_block_what_is_doubtful_about_its_vector(
    name, known, flags
):
    table = with_numbers(OF_BLOCK[name](BLOCK | known))
    steered = table["multiplier"] != 0
    chosen = table["layers"] == "12" if name == "logprobs" else True
    assert set(table.loc[steered & chosen, "flags"]) == {flags}
    # it says nothing of the unsteered run, nor of another block
    assert set(table.loc[~(steered & chosen), "flags"]) == {""}


def test_blocks_are_their_own_contrasts_and_behaviours():
    doubtful = BLOCK | {"stands_out": False}
    table = logprobs_table(
        {
            "calm": [fixed().assign(contrast="letters")],
            "brave": [fixed().assign(contrast="letters")],
        },
        {
            ("calm", "letters"): doubtful,
            ("brave", "answers"): doubtful,
            ("brave", "letters"): BLOCK,
        },
        interval=INTERVAL,
    )
    assert table.columns[:3].tolist() == ["behavior", "contrast", "form"]
    assert table.groupby("behavior")["flags"].agg(set).to_dict() == {
        "calm": {"", "no block stands out"},
        "brave": {""},
    }


def tables():
    """Summaries of two behaviours: cost of 20 texts, reasoning of 8 prompts, no system prompt."""
    return {
        "cost": make_cost(),
        "reasoning": make_reasoning(),
        "system_prompts": make_system_prompts(missing=("for",)),
    }


def test_the_list_has_every_flag_of_every_table_once_a_behaviour_and_contrast(tmp_path):
    made = tables()
    made["cost"].loc[made["cost"]["contrast"] == "letters", "flags"] = "low mass; few items"
    for name, table in made.items():
        # as they are read: an empty cell is no text
        write_table(tmp_path / f"{name}.csv", table)
        made[name] = read_table(tmp_path / f"{name}.csv")
    found = flags_table(made)
    assert set(found["sentence"]) == {FLAGS["low mass"], FLAGS["few items"]}
    assert found["what"].tolist() == ["low mass"] * 2 + ["few items"] * 4
    few_items = found[found["what"] == "few items"]
    assert few_items["table"].tolist() == ["cost"] * 2 + ["reasoning"] * 2
    assert few_items["contrast"].tolist() == ["letters"] * 2 + [""] * 2
    assert few_items["behavior"].tolist() == ["optimism", "sociability"] * 2
    rows = made["reasoning"].groupby("behavior").size().tolist()
    assert few_items["rows"].tolist()[2:] == few_items["of"].tolist()[2:] == rows
    assert flags_table({}).columns.tolist() == found.columns.tolist()
    assert not len(flags_table({"system_prompts": made["system_prompts"]}))


def test_the_end_of_a_run_names_each_flag_once_with_its_tables(tmp_path, capsys):
    (tmp_path / "tables").mkdir()
    print_flags(str(tmp_path))
    assert capsys.readouterr().out == ""
    write_table(tmp_path / "tables/flags.csv", flags_table({}))
    print_flags(str(tmp_path))
    assert capsys.readouterr().out == ""
    made = {"reasoning": make_reasoning(), "transfer": make_reasoning()}
    write_table(tmp_path / "tables/flags.csv", flags_table(made))
    write_table(tmp_path / "tables/lookups_flags.csv", flags_table({"lookups_x": make_reasoning()}))
    print_flags(str(tmp_path))
    _, head, *lines = capsys.readouterr().out.splitlines()
    assert "flags.csv" in head
    assert "lookups_flags.csv" in head
    told = f"few items, in reasoning, transfer, lookups_x: {FLAGS['few items']}"
    assert lines == [f"  {told}"]


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


DRAWN = {
    "propensity": (conditions.propensity, make_propensity),
    "cost": (conditions.cost, make_cost),
    "reasoning": (lambda table: conditions.reasoning(table, make_first_order()), make_reasoning),
    "system_prompts": (
        lambda table: conditions.system_prompts(table, make_first_order()),
        make_system_prompts,
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_mark_the_panels_of_what_is_flagged_and_say_below_why(name):
    draw, make = DRAWN[name]
    table = make().assign(flags=np.nan)
    key = "contrast" if name == "cost" else "behavior"
    flagged, *others = table[key].unique()
    assert not any("†" in text for text in texts(draw(table)))
    table["flags"] = table["flags"].astype(object).where(table[key] != flagged, "low mass")
    figure = draw(readable(table))
    assert any(text.endswith("† low mass") for text in texts(figure))
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert ["†" in title for title in titles] == [True] + [False] * len(others)


def test_the_line_below_has_every_flag_of_the_figure_once_and_room_of_its_own():
    rows = pd.DataFrame({"flags": ["low mass; few items", np.nan, "few items", "", "zero vector"]})
    figure, (ax,) = panels(["one"])
    ax.set_xlabel("block")
    flag_marks(figure, rows)
    figure.draw_without_rendering()
    (line,) = [text for text in figure.findobj(Text) if "† " in text.get_text()]
    assert line.get_text() == "† low mass; few items; zero vector"
    assert line.get_window_extent().y1 <= ax.xaxis.label.get_window_extent().y0
    assert (dagger(rows), dagger(rows.iloc[[1, 3]])) == ("†", "")


def test_a_system_prompt_that_could_not_be_had_is_not_flagged_beside_its_note():
    table = make_system_prompts(missing=("for",))
    assert set(table["flags"]) == {""}
    assert (table.loc[table["layer"] == NO_LAYER, "n"] == 0).any()
