"""Captions: their numbers are the tables', whatever a study has and has not."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pandas as pd
import pytest
from conftest import ROOT
from docutils.core import publish_parts
from makers import (
    make_benchmarks,
    make_convergence,
    make_cost,
    make_logprobs,
    make_projection,
    make_propensity,
    make_reasoning,
    make_system_prompts,
)
from many_tables import TABLES as TABLES_OF
from study import unfilled

from steerpaper.plots.pages import MANY
from steerpaper.steering.measures import MEASURES
from steerpaper.workflow.captions import for_captions, number
from steerpaper.workflow.declared import measured_tables, rows_of

FIGURES, TABLES = (rows_of(ROOT / f"report/{name}.yaml") for name in ("figures", "tables"))
MEASURED = measured_tables(TABLES)


@pytest.fixture(scope="module")
def environment():
    """Snakemake's environment of captions, and a name that is not there is an error."""
    for_captions({name: measure.text for name, measure in MEASURES.items()}, MANY)
    return jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )


def test_a_captions_numbers_are_the_tables(environment, tmp_path):
    table = tmp_path / "steerability.csv"
    config = {"statistics": {"confidence": 0.9, "measures": ["logit_diff", "p_matching"]}}
    job = SimpleNamespace(input=SimpleNamespace(table=str(table)), config=config)
    text = (ROOT / "report/captions/steerability.rst").read_text()
    columns = "behavior,contrast,layers,chosen,direction,n,slope,low,high,anti_steerable,anti_low,"
    columns += "anti_high,anti_random,anti_shuffled,p,p_holm,flags,measure\n"
    for slope in ("1.2345", "-0.5"):
        rows = [
            f"calm,answers,7,on dev,behavior,30,{slope},-1,2,0.1,0,0.25,0.5,0.4,"
            "0.0019,0.0152,,logit_diff",
            "brave,letters,7,on dev,behavior,0,,,,,,,,,,,,logit_diff",
            "calm,answers,7,on dev,behavior,30,9.99,8,9,0.1,0,0.25,0.5,0.4,0.0019,0.01,,p_matching",
        ]
        table.write_text(columns + "\n".join(rows) + "\n")
        caption = environment.from_string(text).render(snakemake=job)
        expected = f"slope {number(float(slope))} (-1 to 2), anti-steerable 10%\n"
        expected += "  (0% to 25%; random 50%,\n  shuffled 40%), p = 0.0019, corrected\n  p = 0.015"
        assert expected in caption
        assert "90% intervals" in caption
        assert "The score is log p(matching answer) − log p(other answer), in nats." in caption
        # neither a random direction's nor another measure's
        assert "9.99" not in caption
        assert "slope –, anti-steerable –" in caption


CONFIG = {
    "statistics": {"confidence": 0.95, "measures": ["logit_diff"]},
    "steering": {
        "completions": {"max_new_tokens": 4},
        "prompts": {"system": None},
        **{name: {"random": {"directions": 5}} for name in ("fixed_completions", "cost")},
    },
    "lookups": {
        "truncation": {"ratio": 0.8},
        "explanations": {"explainer": "local"},
        "published": False,
    },
}
WITHOUT_NUMBERS = {"lookups_explanation_scores", "lookups_ablations", "lookups_published"}
# the figures of parts that run on some behaviours, with tables that their own tests draw; a
# system prompt, completions of a label and items to compare are missing in some of them
PARTS = {
    "reasoning": make_reasoning,
    "system_prompts": lambda: make_system_prompts(("for",)),
    "propensity": lambda: make_propensity(("for",)),
    "cost": make_cost,
    # of one category there is but the whole
    "benchmarks": lambda: make_benchmarks(categories=("law",)),
    "convergence": make_convergence,
    "several_or_one": make_convergence,
    "projection": make_projection,
    "logprob_shift": lambda: pd.concat(
        [make_logprobs(), make_logprobs().assign(label="difference", change=float("nan"))]
    ).assign(layers="3+4"),
    "estimators": lambda: pd.DataFrame(
        {"estimator": "probe", "at": ["own", "chosen"], "n": 5, "slope": 1.5, "low": 1.0}
    ).assign(
        behavior="calm",
        contrast="answers",
        layers=3,
        measure="logit_diff",
        high=None,
        anti_steerable=0.2,
        norm_share=0.1,
        control_low=-0.5,
        control_high=0.5,
        flags=["few items", None],
    ),
    "transfer": lambda: pd.DataFrame(
        {"source": [1, 1, 2], "target": [1, 2, 2], "chosen": [True, True, False], "n": 5}
    ).assign(
        behavior="calm",
        contrast="answers",
        slope=[1.5, 0.1, 2.5],
        low=0.1,
        high=3.0,
        measure="logit_diff",
        flags=None,
    ),
}


def caption_of(environment, figure, files, config=CONFIG):
    """A figure's caption as HTML; what docutils warns of is an error."""
    job = SimpleNamespace(
        input=SimpleNamespace(**files),
        output=SimpleNamespace(**files),
        wildcards=SimpleNamespace(contrast="answers"),
        config=config,
    )
    text = (ROOT / f"report/captions/{figure}.rst").read_text()
    text = environment.from_string(text).render(snakemake=job)
    return publish_parts(text, writer_name="html", settings_overrides={"halt_level": 2})["body"]


@pytest.mark.parametrize("figure", PARTS)
def test_captions_of_parts_hold_numbers(environment, tmp_path, figure):
    table = PARTS[figure]()
    path = str(tmp_path / "table.csv")
    table.to_csv(path, index=False)
    caption = caption_of(environment, figure, {"table": path, "csv": path})
    assert "n = " in caption or figure == "several_or_one"
    flags = table["flags"].fillna("") if "flags" in table else pd.Series([""])
    assert {*re.findall(r"\(† (.*?)\)", caption)} <= {*flags}
    assert ("†" in caption) == flags.ne("").any()
    assert not unfilled(caption)
    assert caption.count("<li>") >= table["behavior"].nunique()


def test_the_caption_of_benchmarks_quotes_all_questions_together_and_no_category(
    environment, tmp_path
):
    path = str(tmp_path / "table.csv")
    table = make_benchmarks()
    table.to_csv(path, index=False)
    caption = caption_of(environment, "benchmarks", {"table": path, "csv": path})
    whole = table[table["category"].isna() & (table["direction"] == "unsteered")]
    assert caption.count("<li>") == len(whole) == 8
    for value in whole["value"]:
        assert f": {number(value)} (" in caption


@pytest.mark.parametrize("figure", PARTS)
def test_captions_of_parts_stand_tables_without_rows(environment, tmp_path, figure):
    path = str(tmp_path / "table.csv")
    PARTS[figure]().head(0).to_csv(path, index=False)
    caption = caption_of(environment, figure, {"table": path, "csv": path})
    assert caption.startswith("<p><strong>")


@pytest.mark.parametrize("figure", TABLES_OF)
def test_captions_say_what_the_form_for_many_behaviors_shows(environment, tmp_path, figure):
    said = []
    for n in (MANY, MANY + 1):
        files = {}
        for key, table in zip(FIGURES[figure]["tables"], TABLES_OF[figure](n), strict=True):
            files[key] = str(tmp_path / f"{key}.csv")
            table.to_csv(files[key], index=False)
        files["csv"] = files[next(iter(FIGURES[figure]["tables"]))]
        caption = caption_of(environment, figure, files)
        assert not unfilled(caption)
        said.append(" ".join(caption.partition("<ul")[0].split()))
    few, many = said
    assert few != many
    if "many" in FIGURES[figure]:
        assert not re.search("(panel|colour) a behaviour", many)
    else:
        assert "ot all" in many


GONE = {
    "reasoning": ["change", "change_low", "change_high"],
    "system_prompts": ["logit_diff", "logit_diff_low", "logit_diff_high", "slope"],
    "propensity": ["p_matching", "p_matching_low", "p_matching_high"],
    "cost": ["value", "value_low", "value_high", "change", "change_low", "change_high"],
    "benchmarks": ["value", "low", "high", "change", "change_low", "change_high", "p_correct"],
    "convergence": ["cosine", "low", "high"],
    "several_or_one": ["cosine", "low", "high"],
    "projection": ["projection"],
    "logprob_shift": ["change", "low", "high"],
    "estimators": ["slope", "low", "high", "control_low", "control_high", "anti_steerable"],
    "transfer": ["slope", "low", "high"],
    "cosine_behaviors": ["cosine"],
    "heatmap": ["change", "change_low", "change_high"],
    "lookups_head_attribution": ["active", "attribution"],
}
CELLS = PARTS | {
    "cosine_behaviors": lambda: pd.DataFrame(
        {"behavior": ["a", "a", "b", "b"], "other": ["a", "b", "a", "b"], "layer": 0}
    ),
    "heatmap": lambda: pd.DataFrame({"layer": [0, 1], "multiplier": 1.0, "n": 3}).assign(
        behavior="calm",
        contrast="answers",
        direction="behavior",
        measure="logit_diff",
        flags=None,
    ),
    "lookups_head_attribution": lambda: pd.DataFrame(
        {"head": [0, 1], "head_layer": 0, "n": 3}
    ).assign(neurons="all random"),
}


@pytest.mark.parametrize("figure", GONE)
def test_captions_stand_cells_without_numbers(environment, tmp_path, figure):
    path = str(tmp_path / "table.csv")
    CELLS[figure]().assign(**dict.fromkeys(GONE[figure], None)).to_csv(path, index=False)
    caption = caption_of(environment, figure, {"table": path, "csv": path})
    assert "–" in caption or "n = 0" in caption
    assert not unfilled(caption)


@pytest.mark.workflow
def test_captions_stand_tables_without_rows_or_numbers(environment, finished_study, tmp_path):
    folder, _, _ = finished_study
    notes = list(folder.glob("results/tiny/logs/figures/*.log.job.json"))
    # the tiny study has no judge
    assert {note.name.split(".")[0] for note in notes} == FIGURES.keys() - {"ratings"}
    for note in notes:
        job = json.loads(note.read_text())
        files = {
            name: folder / path
            for name, path in [*job["input"].items(), *job["output"].items()]
            if str(path).endswith(".csv")
        }
        figure = note.name.split(".")[0]
        tables = {name: pd.read_csv(path) for name, path in files.items()}
        without_rows = {name: table.head(0) for name, table in tables.items()}
        # where nothing could be measured, a lookups table has counts of 0 and no numbers
        without_numbers = {
            name: table.assign(**dict.fromkeys(table.select_dtypes("float"), None))
            for name, table in tables.items()
        }
        for bare in [without_rows, *([without_numbers] if figure in WITHOUT_NUMBERS else [])]:
            changed = {name: str(tmp_path / f"{name}.csv") for name in bare}
            for name, table in bare.items():
                table.to_csv(changed[name], index=False)
            assert caption_of(environment, figure, changed).startswith("<p><strong>")


@pytest.mark.workflow
@pytest.mark.parametrize(
    "figure", [name for name, row in FIGURES.items() if MEASURED & {*row["tables"].values()}]
)
def test_of_several_measures_captions_show_the_first(environment, finished_study, tmp_path, figure):
    folder, _, _ = finished_study
    one, both = {}, {}
    for key, name in FIGURES[figure]["tables"].items():
        path = folder / f"results/tiny/tables/{name}.csv"
        one[key], both[key] = str(path), str(tmp_path / path.name)
        columns, *rows = path.read_text().splitlines()
        # another measure's rows have other numbers
        other = [re.sub(r"\d", "7", row.removesuffix("logit_diff")) for row in rows]
        if name in MEASURED:
            rows += [f"{row}p_matching" for row in other]
        Path(both[key]).write_text("\n".join([columns, *rows, ""]))
    caption = caption_of(environment, figure, one)
    assert not unfilled(caption)
    assert caption_of(environment, figure, both) == caption


def test_an_interval_is_called_a_bootstrap_nowhere_since_below_20_items_it_is_none():
    """Where the word stands, it says what is drawn with replacement: the choice of the block."""
    found = {
        path.relative_to(ROOT).as_posix(): re.findall(r".{0,60}bootstrap.{0,30}", path.read_text())
        for path in (ROOT / "report").rglob("*")
        if path.suffix in {".yaml", ".rst", ".css"}
    }
    found = {path: lines for path, lines in found.items() if lines}
    assert found.keys() == {"report/captions/layer_sweep.rst"}
    (line,) = found["report/captions/layer_sweep.rst"]
    assert "percent(row.stability)" in line
    assert "of bootstrap draws choose it" in line


def told(environment, tmp_path, figure, table, **changed):
    """A caption as one line of text, of a table and another configuration."""
    path = str(tmp_path / "table.csv")
    table.to_csv(path, index=False)
    html = caption_of(environment, figure, {"table": path, "csv": path}, CONFIG | changed)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_captions_say_of_random_directions_what_the_figure_has(environment, tmp_path):
    """To first order they are known of the logit difference, and of the study's own prompts."""
    share = {"statistics": {"confidence": 0.95, "measures": ["p_matching"]}}
    for figure, make in (("reasoning", make_reasoning), ("system_prompts", make_system_prompts)):
        band = "Grey: what 95% of random directions"
        assert band in told(environment, tmp_path, figure, make())
        caption = told(environment, tmp_path, figure, make(measure="p_matching"), **share)
        assert "Grey" not in caption
        assert "There is no band of random directions" in caption
    brief = {"steering": CONFIG["steering"] | {"prompts": {"system": "Be brief."}}}
    for figure, make in (("propensity", make_propensity), ("system_prompts", make_system_prompts)):
        without = "of the same norm do without a system prompt"
        assert without in told(environment, tmp_path, figure, make())
        assert without not in told(environment, tmp_path, figure, make(), **brief)
    five = "of 5 random directions of the same norm"
    assert five in told(environment, tmp_path, "cost", make_cost())
    assert "over the 5 that were measured" in told(
        environment, tmp_path, "logprob_shift", PARTS["logprob_shift"]()
    )
