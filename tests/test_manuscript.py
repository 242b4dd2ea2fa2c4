"""The manuscript: what it says follows from the tables, whatever these hold."""

import html
import importlib.util
import json
import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from makers import make_benchmarks, make_cost, make_logprobs, make_reasoning, make_system_prompts
from many_tables import ratings as ratings_of
from study import make_study, snakemake

from steerpaper.errors import UserError
from steerpaper.paper.captions import blocks
from steerpaper.paper.latex import escaped, macro, macros
from steerpaper.paper.numbers import Declared, Number, Reading, all_numbers, of_table, reading
from steerpaper.paper.words import effect, side, summary
from steerpaper.workflow.captions import rows
from steerpaper.workflow.config import validated
from steerpaper.workflow.declared import rows_of
from steerpaper.workflow.job import Job

pytest.importorskip("typst")

from steerpaper.paper.compile import compiled
from steerpaper.paper.gather import gathered

DECLARED = rows_of(ROOT / "report/numbers.yaml")
FIGURES = rows_of(ROOT / "report/figures.yaml")
TABLES = rows_of(ROOT / "report/tables.yaml")
READING = {"declared": DECLARED, "measures": ["logit_diff"], "alpha": 0.05}
PHRASES = DECLARED["phrases"]["effect"]


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


# made-up results: slope, interval, p against the controls
RESULTS = {
    "none": (0.02, -0.3, 0.35, 0.8),
    "opposite": (-1.4, -1.9, -0.9, 0.001),
    "strong": (3.7, 3.2, 4.1, 0.0004),
    "controls": (0.6, 0.2, 1.0, 0.4),
}


def steerability(*results, behaviors=None):
    behaviors = behaviors or [f"calm-{place}" for place in range(len(results))]
    slope, low, high, p = zip(*results, strict=True)
    return pd.DataFrame(
        {"behavior": behaviors, "slope": slope, "low": low, "high": high, "p": p}
    ).assign(
        contrast="answers",
        layers="7",
        n=30,
        anti_steerable=0.1,
        anti_low=0.03,
        anti_high=0.25,
        anti_random=0.5,
        anti_shuffled=0.4,
        p_holm=p,
        chosen="on dev",
        stands_out=True,
        stability=None,
        p_dev=None,
        flags=None,
        measure="logit_diff",
    )


def controls(mean=0.0, behavior="calm-0"):
    return pd.DataFrame(
        {"behavior": [behavior], "contrast": "answers", "kind": "random", "mean": mean}
    ).assign(low=-1, high=1, measure="logit_diff")


def flags(*found):
    columns = ["table", "behavior", "contrast", "rows", "of", "what", "sentence"]
    return pd.DataFrame(found, columns=columns)


def explanations(low, high):
    return pd.DataFrame(
        {"neurons": ["next_token", "random"], "heads": 30, "scored": 22, "mean": 0.6, "sd": 0.2}
    ).assign(neurons_scored=15, neuron_mean=(low + high) / 2, low=low, high=high, unanswered=0)


def ablations(low, high, p):
    found = pd.DataFrame(
        {"ablated": ["head"] * 2, "neurons": "next_token", "measure": ["logprob", "probability"]}
    )
    return found.assign(
        active_mean=0.3,
        inactive_mean=0.1,
        difference_mean=(low + high) / 2,
        difference_low=low,
        difference_high=high,
        units=30,
        ks=[None, 0.4],
        ks_p=[None, p],
    )


def default_config():
    known = {"estimator": ["mean_difference"], "measure": ["logit_diff"]}
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return validated(config, ROOT / "config.schema.yaml", known=known)


def provenance(folder, config=None):
    made = {
        "study": "made-up",
        "workflow": {"commit": None, "changed": []},
        "python": "3.11.0",
        "packages": {"numpy": "2.4.6"},
        "model": {
            "name": "tiny",
            "source": "path",
            "revision": "folder tiny",
            "files": {"a": "00"},
        },
        "config": config or default_config(),
        "sources": {},
        "files": {"data/calm.jsonl": "ab" * 32, "results/made-up/tables/x.csv": "cd" * 32},
    }
    (folder / "provenance.json").write_text(json.dumps(made))
    return str(folder / "provenance.json")


def inputs_of(folder, tables, figures=(), **more):
    """What the manuscript's job is given, for made-up tables; and its settings."""
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    paths = [str(folder / f"{name}.csv") for name in tables]
    numbers = {"json": str(folder / "numbers.json"), "tex": str(folder / "numbers.tex")}
    given = [path for name, path in zip(tables, paths, strict=True) if name in DECLARED["tables"]]
    job = Job({"tables": given}, numbers, READING, {}, 1, "log")
    script("paper_numbers")(job)
    drawn = []
    for name in figures:
        figure, _ = plt.subplots(figsize=(2, 1))
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        plt.close(figure)
        drawn.append(str(folder / f"{name}.pdf"))
    shown = [
        {"name": name, "contrast": "", "title": name, "tables": FIGURES[name]["tables"]}
        for name in figures
    ]
    inputs = {
        "tables": paths,
        "data": [],
        "figures": drawn,
        "numbers": numbers["json"],
        "provenance": provenance(folder),
        **more,
    }
    for name in figures:
        # what a figure shows is its first table, in a file of the figure's name
        source = tables[next(iter(FIGURES[name]["tables"].values()))]
        source.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
        inputs["data"].append(str(folder / f"{name}.csv"))
    return inputs, {
        **READING,
        "figures": shown,
        "known_figures": list(FIGURES),
        "few": 8,
        "content": "",
    }


def text_of(manuscript):
    """What a manuscript says, without its marks."""
    page = compiled(manuscript, "html").decode()
    page = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def said(tmp_path, tables, figures=(), **more):
    return text_of(gathered(*inputs_of(tmp_path / "study", tables, figures, **more)))


EFFECTS = {
    "none": "does not change the score measurably for calm-0",
    "opposite": "lowers the score, the opposite of its purpose, further than random directions of "
    "the same norm and labels dealt anew do for calm-0",
    "strong": "raises the score further than random directions of the same norm and labels dealt "
    "anew do for calm-0",
    "controls": "raises the score, but no further than random directions of the same norm or "
    "labels dealt anew may for calm-0",
}


@pytest.mark.parametrize("result", RESULTS)
def test_the_manuscript_says_what_the_tables_say_of_no_opposite_and_strong_effects(
    tmp_path, result
):
    slope, low, high, _ = RESULTS[result]
    tables = {
        "steerability": steerability(RESULTS[result]),
        "controls": controls(),
        "flags": flags(),
        "lookups_flags": flags(),
    }
    text = said(tmp_path, tables)
    assert text.count(f"the vector {EFFECTS[result]}") == 2, "abstract and results"
    for other, sentence in EFFECTS.items():
        assert (sentence in text) == (other == result)
    interval = f"{slope:.3g} ({low:.3g} to {high:.3g})".replace("-", "−")
    assert interval in text
    assert "The guards found nothing doubtful" in text


HEADS = "next-token neurons"


@pytest.mark.parametrize(
    ("low", "high", "p", "sentences"),
    [
        (
            0.6,
            0.7,
            0.001,
            (
                f"{HEADS} are better than guessing: 0.65 (0.6 to 0.7)",
                "loses more where the ablated part is active",
                f"({HEADS}) differ between",
            ),
        ),
        (
            -0.4,
            -0.3,
            0.5,
            (
                f"{HEADS} are worse than guessing: −0.35 (−0.4 to −0.3)",
                "loses less where the ablated part is active",
                f"({HEADS}) do not differ measurably between",
            ),
        ),
        (
            -0.1,
            0.9,
            None,
            (
                f"{HEADS} are not measurably different from guessing: 0.4 (−0.1 to 0.9)",
                "loses no measurably different amount",
                f"({HEADS}) are too few for a test between",
            ),
        ),
    ],
)
def test_the_lookups_manuscript_says_what_the_tables_say(tmp_path, low, high, p, sentences):
    tables = {
        "lookups_explanations": explanations(low, high),
        "lookups_ablations": ablations(low, high, p),
    }
    text = said(tmp_path, tables)
    for sentence in sentences:
        assert sentence in text


def test_without_any_table_the_manuscript_says_what_is_not_there(tmp_path):
    text = said(tmp_path, {})
    for part in (
        "The effect was not measured",
        "Completions were not labelled",
        "Fixed completions are no part",
        "Chains of thought are no part",
        "System prompts are no part",
        "The cost of steering was not measured",
        "Estimators are not compared",
        "Transfer between blocks is no part",
        "Explanations are not among",
        "Ablations are not among",
        "No list of flags was made",
    ):
        assert part in text
    assert "Beside the published numbers" not in text


def test_parts_say_whether_the_score_rises_falls_or_neither(tmp_path):
    reasoning = make_reasoning()
    tables = {
        "reasoning": reasoning,
        "system_prompts": make_system_prompts(),
        "cost": make_cost(),
        "logprobs": make_logprobs(),
        "benchmarks": make_benchmarks(),
    }
    text = said(tmp_path, tables)
    numbers = json.loads((tmp_path / "study/numbers.json").read_text())
    words = {name: one["text"] for name, one in numbers.items() if name.endswith(".words")}
    assert {name.split(".")[0] for name in words} >= {"reasoning", "system_prompts", "cost"}
    shown = [name for name in words if ".highest." in name and ".none." not in name]
    asked = [name for name in words if re.match(r"benchmarks.*\.none\..*\.highest\.", name)]
    assert len(asked) == 4  # two benchmarks, each by letters and by answers
    assert all(words[name] in text for name in asked)
    # of categories their mean alone has a name
    named = {name.split(".")[3] for name in numbers if name.startswith("benchmarks.optimism")}
    assert named == {"none", "mean_of_categories"}
    for name in shown:
        if name.startswith(("reasoning", "cost")):
            assert words[name] in text, name
    assert "no part of this study. With" not in text


def test_ratings_stand_in_the_manuscript_where_there_are_any(tmp_path):
    table, agreement = ratings_of(2)
    text = said(tmp_path, {"ratings": table, "rating_agreement": agreement}, ["ratings"])
    numbers = json.loads((tmp_path / "study/numbers.json").read_text())
    for judge in table["judge"].unique():
        low, high = (
            numbers[f"ratings.all.{judge}.{end}.value.range"]["text"]
            for end in ("lowest", "highest")
        )
        assert f"by {judge}, {low} at the lowest multiplier and {high} at the highest" in text
    (tmp_path / "none").mkdir()
    assert "A judge rated" not in said(tmp_path / "none", {})


def test_more_behaviours_than_a_sentence_can_list_are_counted(tmp_path):
    many = [RESULTS["strong"]] * 30 + [RESULTS["none"]] * 10
    text = said(tmp_path, {"steerability": steerability(*many)})
    strong, none = (PHRASES[key] for key in ("raises", "around"))
    assert f"the vector {strong} for 30 of 40; {none} for 10 of 40." in text


def test_flags_are_listed_once_with_their_tables(tmp_path):
    found = flags(
        ("steerability", "calm-0", "answers", 1, 2, "few items", "fewer than 20 items"),
        ("steerability", "calm-1", "answers", 2, 2, "few items", "fewer than 20 items"),
        ("cost", "calm-0", "text", 3, 9, "few items", "fewer than 20 items"),
    )
    text = said(tmp_path, {"flags": found})
    assert text.count("few items : fewer than 20 items.") == 1
    assert "steerability 3 of 4 rows, cost 3 of 9 rows" in re.sub(r" ,", ",", text)


VERDICT = pd.DataFrame(
    {
        "paper": ["caa-2023", "neo-2024"],
        "quantity": ["p_matching", "score"],
        "model": ["llama", "gpt2"],
        "setting": ["A/B", "heads"],
        "published": [0.8, 0.65],
        "published_sd": [None, 0.19],
        "published_n": [50, 20],
        "unit": "share",
        "ours": [0.7, None],
        "low": [0.6, None],
        "high": [0.9, None],
        "n": [50, 0],
        "difference": [-0.1, None],
        "verdict": ["inside", "not comparable"],
        "reason": [None, "model"],
    }
)


def test_the_verdict_stands_in_the_manuscript_of_its_study_where_there_is_one(tmp_path):
    steering, lookups = said(tmp_path, {"verdict": VERDICT}).split("Context look-ups in")[:2]
    assert "0.7 (0.6 to 0.9)" in steering
    assert "inside" in steering
    assert "not comparable: model" in lookups
    assert "not comparable" not in steering


def test_a_manuscript_is_the_same_to_the_byte_when_built_twice_and_names_no_folder(tmp_path):
    table = steerability(RESULTS["strong"])
    tables = {"steerability": table, "dose_response": doses()}
    inputs, params = inputs_of(tmp_path / "one", tables, ["dose_response"])
    again, _ = inputs_of(tmp_path / "another", tables, ["dose_response"])
    made = []
    for given in (inputs, again):
        output = {"pdf": str(tmp_path / "paper.pdf")}
        script("manuscript")(Job(given, output, params, {}, 1, "log"))
        made.append((tmp_path / "paper.pdf").read_bytes())
    assert made[0] == made[1]
    assert made[0].startswith(b"%PDF")
    assert str(tmp_path).encode() not in made[0]


def doses():
    return pd.DataFrame({"multiplier": [-1, 0, 1], "change": [-2.0, 0.0, 2.0]}).assign(
        behavior="calm-0",
        contrast="answers",
        direction=["behavior", "unsteered", "behavior"],
        layers=[7, None, 7],
        n=30,
        change_low=[-3.0, None, 1.0],
        change_high=[-1.0, None, 3.0],
        flags=None,
        measure="logit_diff",
    )


def test_a_figures_caption_is_the_reports(tmp_path):
    tables = {"steerability": steerability(RESULTS["strong"]), "dose_response": doses()}
    text = said(tmp_path, tables, ["dose_response"])
    assert "How far does the score move?" in text
    assert "calm-0, answers, block 7: −2 (−3 to −1) at −1, 2 (1 to 3) at 1, n = 30 items" in text


OWN = """#import "/template.typ": *
= Mine
It is #num("steerability.calm-0.answers.slope").
"""


def own_manuscript(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "my-paper.typ").write_text(text)
    return str(folder / "my-paper.typ")


def test_a_users_manuscript_takes_the_place_of_ours_with_what_lies_beside_it(tmp_path):
    own = own_manuscript(tmp_path / "own", OWN + '#include "more.typ"\n')
    (tmp_path / "own/more.typ").write_text("Said beside it.\n")
    text = said(tmp_path, {"steerability": steerability(RESULTS["strong"])}, manuscript=own)
    assert text == "Mine It is 3.7. Said beside it."


def test_a_number_that_is_not_there_stops_the_build_with_its_line_and_the_nearest_names(tmp_path):
    own = own_manuscript(tmp_path / "own", OWN.replace("answers.slope", "answer.slope"))
    tables = {"steerability": steerability(RESULTS["strong"])}
    with pytest.raises(UserError, match=r"my-paper\.typ, line 3: there is no number") as caught:
        said(tmp_path, tables, manuscript=own)
    assert "steerability.calm-0.answer.slope (nearest: steerability.calm-0.answers.slope" in str(
        caught.value
    )


def test_our_own_manuscripts_stop_at_a_missing_number_too(tmp_path):
    inputs, params = inputs_of(
        tmp_path / "study", {"steerability": steerability(RESULTS["strong"])}
    )
    numbers = json.loads((tmp_path / "study/numbers.json").read_text())
    del numbers["steerability.calm-0.answers.effect"]
    (tmp_path / "study/numbers.json").write_text(json.dumps(numbers))
    with pytest.raises(UserError, match=r"no number steerability\.calm-0\.answers\.effect"):
        compiled(gathered(inputs, params), "pdf")


# words


@pytest.mark.parametrize(
    ("slope", "low", "high", "p", "controls", "expected"),
    [
        (1, 0.5, 1.5, 0.01, 0, "raises"),
        (1, 0.5, 1.5, 0.01, None, "raises"),
        # p is small because the controls do more
        (1, 0.5, 1.5, 0.01, 4, "raises as controls"),
        (1, 0.5, 1.5, 0.05, 0, "raises as controls"),
        (1, 0.5, 1.5, None, None, "raises alone"),
        (-1, -1.5, -0.5, 0.01, 0, "lowers"),
        (-1, -1.5, -0.5, 0.01, -4, "lowers as controls"),
        (-1, -1.5, -0.5, None, None, "lowers alone"),
        # small p beside an interval that holds 0
        (1, -0.5, 1.5, 0.01, 0, "around"),
        (1, 0.0, 1.5, 0.01, 0, "around"),
        (1, None, None, 0.01, 0, "unknown"),
        (None, None, None, None, None, "missing"),
    ],
)
def test_an_effect_needs_an_interval_without_0_and_more_than_the_controls(
    slope, low, high, p, controls, expected
):
    assert effect(slope, low, high, p, 0.05, controls) == expected
    assert expected in PHRASES


def test_a_factor_is_seen_from_1():
    assert side(1.2, 1.1, 1.3, at=1) == "above"
    assert side(0.9, 0.8, 1.1, at=1) == "around"
    cost = make_cost().assign(direction="behavior", change=0.9, change_low=0.8, change_high=0.95)
    declared, read = reading(READING)
    row = cost[(cost["measure"] == "perplexity")].head(1).to_dict("records")
    found = of_table("cost", row, declared["cost"], read)
    assert [one.text for name, one in found.items() if name.endswith("change.word")] == [
        "falls"
    ] * 3


def test_a_summary_says_each_thing_once_in_the_phrases_order():
    phrases = {"above": "rises", "below": "falls"}
    assert summary({"a": "above"}, phrases) == "rises for a"
    found = summary({"a": "below", "b": "above", "c": "below", "d": "below"}, phrases)
    assert found == "rises for 1 of 4 (b); falls for 3 of 4 (a, c and d)"


@pytest.mark.parametrize("phrases", DECLARED["phrases"])
def test_every_outcome_has_a_phrase(phrases):
    keys = {"above", "below", "around", "unknown", "missing"}
    expected = {"effect": {*PHRASES}, "distributions": {"small", "large", "missing"}}
    assert {*DECLARED["phrases"][phrases]} == expected.get(phrases, keys)


# numbers


def test_numbers_are_the_tables_cells_as_captions_print_them(tmp_path):
    declared, read = reading(READING)
    steerability(RESULTS["strong"]).to_csv(tmp_path / "steerability.csv", index=False)
    tables = {"steerability": rows(tmp_path / "steerability.csv")}
    found = all_numbers(tables, declared, read)
    start = "steerability.calm-0.answers"
    assert found[f"{start}.slope"] == Number(3.7, "3.7")
    assert found[f"{start}.slope.estimate"].text == "3.7 (3.2 to 4.1)"
    assert found[f"{start}.anti_steerable.estimate"].text == "10% (3% to 25%)"
    assert found[f"{start}.p_holm"] == Number(0.0004, "p = 0.0004")
    assert found[f"{start}.p_dev"] == Number(None, "no p")
    assert found["steerability.all.answers.slope.range"].text == "3.7"


def test_the_lowest_and_the_highest_of_a_key_have_these_names_too():
    declared, read = reading(READING)
    doubled = [{**row, "measure": measure} for row in doses().to_dict("records")
               for measure in ("logit_diff", "p_matching")]  # fmt: skip
    read = Reading(["logit_diff", "p_matching"], 0.05, read.phrases)
    found = of_table("dose_response", doubled, declared["dose_response"], read)
    start = "dose_response.calm-0.answers.behavior"
    assert found[f"{start}.highest.multiplier"].value == 1
    assert found[f"{start}.lowest.change"].value == found[f"{start}.-1.change"].value == -2
    # of several measures the first has no name of its own
    assert found[f"{start}.highest.p_matching.change"].value == 2


def test_a_name_holds_no_space():
    row = [{"neurons": "all random", "left out: none": 1}]
    found = of_table("some", row, Declared(keys=["neurons"]), Reading(["logit_diff"], 0.05, {}))
    assert list(found) == ["some.all_random.left_out:_none"]


def test_two_rows_of_one_name_are_a_mistake_of_the_declaration():
    twice = [{"a": "x", "n": 1}, {"a": "x", "n": 2}]
    with pytest.raises(ValueError, match=r"two rows of some are called some\.x"):
        of_table("some", twice, Declared(keys=["a"]), Reading(["logit_diff"], 0.05, {}))


def test_every_table_has_named_numbers_or_a_reason_why_not():
    tables = {table for row in TABLES.values() for table in row["tables"]}
    named, left_out = set(DECLARED["tables"]), set(DECLARED["left_out"])
    assert not named & left_out
    assert tables - named - left_out == set()
    assert named - tables == set()


@pytest.mark.workflow
def test_the_numbers_of_a_finished_study_have_one_name_each_and_are_all_its_tables(finished_study):
    folder, _, _ = finished_study
    numbers = json.loads((folder / "results/tiny/tables/numbers.json").read_text())
    found = {name.split(".")[0] for name in numbers}
    # the tiny study has no judge
    rated = {"ratings", "rating_agreement", "judged_labels", "label_agreement"}
    assert found == {*DECLARED["tables"]} - rated
    assert (folder / "results/tiny/paper.pdf").read_bytes().startswith(b"%PDF")
    text = (folder / "results/tiny/tables/numbers.tex").read_text()
    assert len(re.findall(r"(?m)^\\newcommand{\\[A-Za-z]+}{.*}% \S+$", text)) == len(numbers)


# macros


def test_macros_have_names_of_letters_and_texts_that_latex_prints():
    assert macro("cost.calm.-0.5.n") == "CostCalmMinusZeroPointFiveN"
    assert macro("steerability.risk-taking.answers.slope") == "SteerabilityRiskTakingAnswersSlope"
    assert escaped("-0.5 (-1 to 2), 10%, a_b") == r"$-$0.5 ($-$1 to 2), 10\%, a\_b"
    text = macros({"a-b.n": Number(1, "1"), "a_b.n": Number(2, "2")})
    assert text.splitlines()[1:] == [
        r"\newcommand{\ABN}{1}% a-b.n",
        r"\newcommand{\ABNAgain}{2}% a_b.n",
    ]


# captions


def test_a_caption_is_data_and_its_text_is_never_markup():
    found = blocks("**What?** A *word*, ``code`` and #text $x$.\n\n- one\n- two\n\n  more\n")
    assert found == [
        {
            "paragraph": [
                {"text": "What?", "strong": True},
                {"text": " A "},
                {"text": "word", "emphasis": True},
                {"text": ", "},
                {"text": "code", "literal": True},
                {"text": " and #text $x$."},
            ]
        },
        {
            "list": [
                [{"paragraph": [{"text": "one"}]}],
                [{"paragraph": [{"text": "two"}]}, {"paragraph": [{"text": "more"}]}],
            ]
        },
    ]


@pytest.mark.parametrize("text", ["Title\n=====\n\nText.", "*open", "1. one\n2. two"])
def test_a_caption_that_holds_more_than_manuscripts_can_set_is_refused(text):
    with pytest.raises(ValueError, match="a caption"):
        blocks(text)


@pytest.mark.workflow
def test_a_manuscript_of_ones_own_is_named_by_one_key_and_must_be_there(tmp_path, model_folders):
    config = make_study(tmp_path, model_folders["llama"])
    process = snakemake(tmp_path, {**config, "paper": "my-paper.typ"}, "paper", "--dry-run")
    assert process.returncode == 1
    assert "paper: no file at my-paper.typ" in process.stdout + process.stderr
    (tmp_path / "my-paper.typ").write_text(OWN)
    rules = rules_of(tmp_path, {**config, "paper": "my-paper.typ"})
    assert rules["manuscript"]["input"]["manuscript"] == "my-paper.typ"
    # what lies beside the workflow is taken from there, for the job alone
    rules = rules_of(tmp_path, {**config, "paper": "paper/steering.typ"})
    assert "manuscript" not in rules["manuscript"]["input"]
    assert rules["manuscript"]["params"]["beside"] == {
        "manuscript": str(ROOT / "paper/steering.typ")
    }


def test_items_and_letters_are_told_as_the_study_takes_them(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    own = {"train": "data/behaviors/warmth.jsonl", "test": "data/behaviors/agreement.jsonl"}
    config["behaviors"]["warmth"] = {"splits": own}
    steering = config["steering"]
    steering["prompts"] |= {"letters": "as_given", "split": {"train": 60, "dev": 12, "test": 30}}
    steering |= {"layer": 13, "positions": "turn", "behaviors": ["optimism", "warmth"]}
    config["model"]["chat_template"] = "studies/templates/caa-llama-2.jinja"
    known = {"estimator": ["mean_difference"], "measure": ["logit_diff"]}

    def told(folder):
        filled = validated(config, ROOT / "config.schema.yaml", known=known)
        folder.mkdir()
        return said(folder, {}, provenance=provenance(folder, filled))

    both = told(tmp_path / "both")
    assert "Of each but warmth, items are dealt by seed 2026 into 60 for the vector" in both
    assert "Of warmth the items for the vector (at most 60) and for what is reported (at" in both
    assert "the choices and letters of its file" in both
    assert "The chat template is the study's own" in both.replace("’", "'")
    steering |= {"behaviors": ["warmth"]}
    steering["prompts"]["split"] = {"train": "all", "dev": 0, "test": "all"}
    alone = told(tmp_path / "alone")
    assert "Of warmth the items for the vector (all) and for what is reported (all)" in alone
    assert "dealt by seed" not in alone
    steering |= {"behaviors": ["optimism"], "layer": 13}
    steering["prompts"]["split"] = {"train": "60%", "dev": 0, "test": "40%"}
    shares = told(tmp_path / "shares")
    assert "are dealt by seed 2026 into 60% for the vector, and 40% for what is" in shares
    assert "and their test items" in shares
    assert "for the choice of the block" not in shares
