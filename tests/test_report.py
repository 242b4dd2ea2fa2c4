"""The report, opened in a browser: figures, tables, captions, rule graph, run times, versions."""

import csv
import getpass
import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from docutils.core import publish_parts
from makers import (
    make_convergence,
    make_cost,
    make_logprobs,
    make_projection,
    make_reasoning,
    make_system_prompts,
)
from study import snakemake

from steerpaper.steering.measures import MEASURES
from steerpaper.workflow.captions import for_captions, number
from steerpaper.workflow.declared import csv_names, rows_of
from steerpaper.workflow.pages import flat, table_page

pytestmark = pytest.mark.workflow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# a browser that asks nobody for anything
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
RECORDS = ["configuration", "versions", "model", "files", "run_times"]
# of a caption that was not filled in well
TRACES = {"system-message", "None", "Undefined", "nan", "{{", "{%"}
CAPTIONS = sorted(path.stem for path in (ROOT / "report/captions").glob("*.rst"))


@pytest.fixture(scope="module")
def study(finished_study, tmp_path_factory):
    """A folder with a finished tiny study and its report, and the arguments of the run."""
    theirs, config, _ = finished_study
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(theirs, folder, dirs_exist_ok=True)
    # the report's own run must be given the configuration of this one, whatever it came from
    arguments = ["--config", "study=tiny"]
    process = snakemake(folder, config | {"study": "other"}, "report", *arguments)
    assert process.returncode == 0, process.stderr
    return SimpleNamespace(folder=folder, results=folder / "results/tiny", arguments=arguments)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no browser: neither chromium nor chromium-browser is on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def opened(browser, study):
    """The report in a browser; whatever it complains of or asks the network for is a failure."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    wrong = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url[:200]}"))
    page.on(
        "console", lambda said: wrong.append(f"said: {said.text}") if said.type == "error" else None
    )
    page.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("file:", "data:", "about:"))
            else wrong.append(f"asked for: {asked.url[:200]}")
        ),
    )
    page.goto((study.results / "report.html").as_uri())
    page.wait_for_selector("#rulegraph canvas, #rulegraph svg")
    yield page
    page.close()
    assert not wrong


def results(page):
    """What the report holds, by path: labels, caption, type."""
    shown = "Object.entries(results).map(([path, r]) => [path, {...r, data_uri: null}])"
    return dict(page.evaluate(shown))


def written(study, name):
    """A JavaScript variable as the report holds it; the drawn graph changes its own."""
    lines = (study.results / "report.html").read_text(encoding="utf-8").splitlines()
    # functions have variables of these names, too
    line = next(line for line in lines if line.strip().startswith(f"var {name} = {{"))
    return json.loads(line.partition(" = ")[2].rstrip(";"))


def show(page, kind, path):
    """Show a figure ("img") or page ("html") of the report, as a click on its eye does."""
    page.evaluate(
        "([kind, path]) => app.setView({content: kind, contentPath: results[path].data_uri,"
        " resultPath: path})",
        [kind, path],
    )


def test_every_figure_is_in_the_report_and_decodes(opened, study):
    found = [path for path in results(opened) if path.endswith(".png")]
    drawn = [
        str(path.relative_to(study.folder)) for path in study.folder.glob("figures/tiny/*.png")
    ]
    assert sorted(found) == sorted(drawn)
    assert {Path(path).name.split(".")[0] for path in drawn} <= set(CAPTIONS)
    for path in found:
        show(opened, "img", path)
        opened.wait_for_function(
            "path => {const image = document.querySelector('#app .p-3 > img');"
            " return image && image.src === results[path].data_uri && image.complete}",
            arg=path,
        )
        width = opened.evaluate("document.querySelector('#app .p-3 > img').naturalWidth")
        assert width > 500, path


def test_a_figure_is_found_by_clicks_with_its_caption(opened, study):
    opened.get_by_text("Steering", exact=True).click()
    opened.get_by_text("Effect", exact=True).click()
    row = opened.locator("tr", has_text="Slopes of single items")
    row.locator("a").nth(0).click()
    image = opened.locator("#app .p-3 > img")
    assert image.evaluate("async image => {await image.decode(); return image.naturalWidth}") > 500
    row.locator("a").nth(1).click()
    caption = opened.locator("nav").first.inner_text()
    with open(study.results / "tables/steerability.csv", newline="") as lines:
        chosen = next(row for row in csv.DictReader(lines) if row["direction"] == "behavior")
    for column in ("slope", "low", "high"):
        assert number(float(chosen[column])) in caption
    assert f"n = {chosen['n']}" in caption


def test_captions_are_whole(opened):
    for path, result in results(opened).items():
        if path.endswith("png"):
            assert "n = " in result["caption"], path
            assert not TRACES & set(re.findall(r"[\w-]+|{{|{%", result["caption"])), path


def test_every_table_shows_its_rows_sorts_and_filters(opened, study):
    tables = {path.stem: path for path in study.results.glob("tables/*.csv")}
    pages = {Path(path).stem: path for path in results(opened) if path.endswith(".html")}
    assert set(pages) == {*tables, *RECORDS}
    described = csv_names(rows_of(ROOT / "report/tables.yaml"))
    assert set(tables) <= set(described)
    for name, path in tables.items():
        with open(path, newline="") as lines:
            columns, *cells = csv.reader(lines)
        show(opened, "html", pages[name])
        frame = opened.frame_locator("iframe")
        frame.locator("h1", has_text=name).wait_for()
        assert frame.locator("th").all_inner_texts() == columns
        assert frame.locator("tbody tr").count() == min(len(cells), 1000)
        assert described[name] in frame.locator("p").first.inner_text()
    show(opened, "html", pages["steerability_items"])
    frame = opened.frame_locator("iframe")
    slope = frame.locator("th", has_text="slope")
    column = frame.locator("th").all_inner_texts().index("slope")
    for order in ("ascending", "descending"):
        slope.click()
        assert slope.get_attribute("aria-sort") == order
        values = frame.locator(f"tbody td:nth-child({column + 1})").all_inner_texts()
        numbers = [float(value) for value in values]
        assert len(set(numbers)) > 1
        assert numbers == sorted(numbers, reverse=order == "descending")
    frame.locator("#filter").fill("random-1")
    rows = frame.locator("tbody tr").all_inner_texts()
    assert rows
    assert all("random-1" in row for row in rows)


def test_the_front_page_tells_configuration_and_versions(opened, study):
    made = json.loads((study.results / "provenance.json").read_text())
    front = opened.locator("#app").inner_text()
    for text in ("Study “tiny”", made["packages"]["torch"], made["python"], "answers"):
        assert text in front
    assert opened.locator(".system-message").count() == 0
    size = opened.locator("#rulegraph canvas, #rulegraph svg").first.bounding_box()
    assert size["height"] > 200
    rules = json.dumps(written(study, "rulegraph_spec"))
    assert all(f'"{rule}"' in rules for rule in ("prompts", "sweep", "plot_heatmap"))
    opened.get_by_text("configuration.html", exact=True).click()
    opened.get_by_text("report_pages", exact=True).wait_for()
    show(opened, "html", "results/tiny/report/configuration.html")
    frame = opened.frame_locator("iframe")
    shown = dict(
        row.split("\t") for row in frame.locator("tbody").inner_text().split("\n") if "\t" in row
    )
    assert shown["study"] == "tiny"
    assert shown["steering.prompts.split.train"] == "6"


def test_run_times_show(opened, study):
    opened.get_by_role("link", name="Statistics").click()
    for part in ("#runtimes", "#timeline"):
        opened.wait_for_selector(f"{part} canvas, {part} svg")
    times = written(study, "runtimes_spec")["data"]["values"]
    seconds = {row["rule"]: row["runtime"] for row in times}
    assert {"prompts", "sweep", "plot_heatmap", "lookups_tables"} <= set(seconds)
    assert all(second > 0 for second in seconds.values())
    show(opened, "html", "results/tiny/report/run_times.html")
    rows = opened.frame_locator("iframe").locator("tbody tr")
    rows.first.wait_for()
    cells = [row.split("\t") for row in rows.all_inner_texts()]
    assert set(seconds) - {"report_pages"} <= {row[0] for row in cells}
    assert all(float(row[2]) > 0 for row in cells)


def test_a_finished_report_has_nothing_to_be_done(study):
    process = snakemake(study.folder, None, "report", "--dry-run", *study.arguments)
    assert process.returncode == 0, process.stderr
    assert "Nothing to be done" in process.stdout + process.stderr


def test_snakemakes_own_report_holds_the_same(study, tmp_path):
    path = tmp_path / "report.html"
    process = snakemake(study.folder, None, "--report", path, *study.arguments)
    assert process.returncode == 0, process.stderr

    own = SimpleNamespace(results=tmp_path)
    for name in ("results", "categories", "rules"):
        assert written(own, name) == written(study, name)


def test_provenance_is_the_same_again_and_names_no_machine(study):
    path = study.results / "provenance.json"
    before = path.read_bytes()
    script = ROOT / "scripts/provenance.py"
    # as its note says: the same job again
    subprocess.run(
        [sys.executable, script, "results/tiny/logs/provenance.log.job.json"],
        cwd=study.folder,
        check=True,
    )
    assert path.read_bytes() == before
    made = json.loads(before)
    for name, digest in made["files"].items():
        where = study.folder / name if (study.folder / name).exists() else ROOT / name
        assert hashlib.sha256(where.read_bytes()).hexdigest() == digest
    assert {"one.jsonl", "one.yaml", "data/neutral.jsonl"} <= set(made["files"])
    assert {f"figures/tiny/heatmap.{kind}" for kind in ("pdf", "png", "csv")} <= set(made["files"])
    assert made["config"] == yaml.safe_load((study.results / "config.yaml").read_text())
    # where a model's folder is, is the configuration's own word
    made["config"]["model"]["path"] = None
    text = json.dumps(made)
    for name in (str(ROOT), str(study.folder), socket.gethostname(), getpass.getuser()):
        assert f'"{name}' not in text
        assert f"/{name}/" not in text


@pytest.fixture(scope="module")
def environment():
    """Snakemake's environment of captions, and a name that is not there is an error."""
    for_captions({name: measure.text for name, measure in MEASURES.items()})
    return jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )


def test_a_captions_numbers_are_the_tables(environment, tmp_path):
    table = tmp_path / "steerability.csv"
    config = {"statistics": {"confidence": 0.9, "measures": ["logit_diff", "p_matching"]}}
    job = SimpleNamespace(input=SimpleNamespace(table=str(table)), config=config)
    text = (ROOT / "report/captions/steerability.rst").read_text()
    columns = "behavior,contrast,layers,chosen,direction,n,slope,low,high,anti_steerable,anti_low,"
    columns += "anti_high,p_items,measure\n"
    for slope in ("1.2345", "-0.5"):
        rows = [
            f"calm,answers,7,on dev,behavior,30,{slope},-1,2,0.1,0,0.25,0.0019,logit_diff",
            "calm,answers,7,on dev,random-0,30,9.99,,,0.5,,,,logit_diff",
            "brave,letters,7,on dev,behavior,0,,,,,,,,logit_diff",
            "calm,answers,7,on dev,behavior,30,9.99,8,9,0.1,0,0.25,0.0019,p_matching",
        ]
        table.write_text(columns + "\n".join(rows) + "\n")
        caption = environment.from_string(text).render(snakemake=job)
        expected = f"slope {number(float(slope))} (-1 to 2), anti-steerable 10%\n  (0% to 25%), "
        assert expected + "p = 0.0019" in caption
        assert "90% bootstrap" in caption
        assert "The score is log p(matching answer) − log p(other answer), in nats." in caption
        # neither a random direction's nor another measure's
        assert "9.99" not in caption
        assert "slope –, anti-steerable –" in caption


CONFIG = {
    "statistics": {"confidence": 0.95, "measures": ["logit_diff"]},
    "steering": {"completions": {"max_new_tokens": 4}},
    "lookups": {"truncation": {"ratio": 0.8}, "explanations": {"explainer": "local"}},
}
WITHOUT_NUMBERS = {"lookups_explanation_scores", "lookups_ablations", "lookups_published"}
# the figures of parts that run on some behaviours, with tables that their own tests draw; a
# system prompt, completions of a label and items to compare are missing in some of them
PARTS = {
    "reasoning": make_reasoning,
    "system_prompts": lambda: make_system_prompts(("for",)),
    "cost": make_cost,
    "convergence": make_convergence,
    "several_or_one": make_convergence,
    "projection": make_projection,
    "logprob_shift": lambda: pd.concat(
        [make_logprobs(), make_logprobs().assign(label="difference", change=float("nan"))]
    ).assign(layers="3+4"),
    "estimators": lambda: pd.DataFrame(
        {"estimator": ["probe", "random-0"], "n": 5, "slope": 1.5, "low": 1.0, "high": None}
    ).assign(behavior="calm", contrast="answers", layers=3, measure="logit_diff"),
    "transfer": lambda: pd.DataFrame(
        {"source": [1, 1, 2], "target": [1, 2, 2], "chosen": [True, True, False], "n": 5}
    ).assign(
        behavior="calm",
        contrast="answers",
        slope=[1.5, 0.1, 2.5],
        low=0.1,
        high=3.0,
        measure="logit_diff",
    ),
}


def caption_of(environment, figure, files):
    """A figure's caption as HTML; what docutils warns of is an error."""
    job = SimpleNamespace(
        input=SimpleNamespace(**files),
        output=SimpleNamespace(**files),
        wildcards=SimpleNamespace(contrast="answers"),
        config=CONFIG,
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
    assert not TRACES & set(re.findall(r"[\w-]+|{{|{%", caption))
    assert caption.count("<li>") >= table["behavior"].nunique()


def test_every_figure_has_a_caption_and_a_title():
    figures = rows_of(ROOT / "report/figures.yaml")
    assert sorted(figures) == CAPTIONS
    assert len({row["title"] for row in figures.values()}) == len(figures)


@pytest.mark.parametrize("figure", PARTS)
def test_captions_of_parts_stand_tables_without_rows(environment, tmp_path, figure):
    path = str(tmp_path / "table.csv")
    PARTS[figure]().head(0).to_csv(path, index=False)
    caption = caption_of(environment, figure, {"table": path, "csv": path})
    assert caption.startswith("<p><strong>")


def test_captions_stand_tables_without_rows_or_numbers(environment, study):
    notes = list(study.results.glob("logs/figures/*.log.job.json"))
    assert {note.name.split(".")[0] for note in notes} == set(CAPTIONS)
    for note in notes:
        job = json.loads(note.read_text())
        files = {
            name: study.folder / path
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
            changed = {name: str(study.folder / f"{name}.bare.csv") for name in bare}
            for name, table in bare.items():
                table.to_csv(changed[name], index=False)
            assert caption_of(environment, figure, changed).startswith("<p><strong>")


def test_a_cells_text_cannot_end_the_pages_script():
    template = (ROOT / "report/table.html").read_text()
    page = table_page(template, "a<b", "x & y", ["text"], [["</script><script>alert(1)</script>"]])
    assert page.count("<script") == template.count("<script")
    assert "<h1>a&lt;b</h1>" in page


def test_nested_keys_become_rows():
    assert flat({"a": {"b": [1, 2], "c": None}, "d": "x", "e": {}}) == [
        ["a.b", "[1, 2]"],
        ["a.c", "null"],
        ["d", "x"],
        ["e", "{}"],
    ]
