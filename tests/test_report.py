"""The report, opened in a browser: figures, tables, captions, rule graph, run times, versions."""

import base64
import csv
import getpass
import hashlib
import html
import json
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT
from study import snakemake, unfilled

from steerpaper.workflow.captions import number
from steerpaper.workflow.declared import csv_names, rows_of
from steerpaper.workflow.pages import flat, table_page
from steerpaper.workflow.places import machine, model_names, without_folders

pytestmark = pytest.mark.workflow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# a browser that asks nobody for anything
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
SECRET = "sk-very-secret-0123456789"
RECORDS = ["configuration", "versions", "model", "engine", "files", "run_times"]
FIGURES = rows_of(ROOT / "report/figures.yaml")


@pytest.fixture(scope="module")
def study(finished_study, tmp_path_factory):
    """A folder with a finished tiny study and its report, and the arguments of the run."""
    theirs, config, _ = finished_study
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(theirs, folder, dirs_exist_ok=True)
    # the report's own run must be given the configuration of this one, whatever it came from
    arguments = ["--config", "study=tiny"]
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("TINY_ACCESS_KEY", SECRET)
    # its archive, too, for who looks through all that others may read
    process = snakemake(folder, config | {"study": "other"}, "report", "archive", *arguments)
    monkeypatch.undo()
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
    assert {Path(path).name.split(".")[0] for path in drawn} <= FIGURES.keys()
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
            assert not unfilled(result["caption"]), path


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


def test_every_table_and_record_has_a_page_that_says_what_it_holds(study):
    pages = {path.stem: path.read_text("utf-8") for path in study.results.glob("report/*.html")}
    assert pages.keys() == {path.stem for path in study.results.glob("tables/*.csv")} | {*RECORDS}
    about = json.loads((study.results / "logs/report_pages.log.job.json").read_text())["params"]
    for name, page in pages.items():
        assert about["about"][name].endswith("."), name
        assert html.escape(about["about"][name]) in page, name


def test_a_finished_report_has_nothing_to_be_done(study):
    process = snakemake(study.folder, None, "report", "--dry-run", *study.arguments)
    assert process.returncode == 0, process.stderr
    assert "Nothing to be done" in process.stdout + process.stderr


@pytest.mark.long
def test_snakemakes_own_report_holds_the_same(study, tmp_path):
    path = tmp_path / "report.html"
    process = snakemake(study.folder, None, "--report", path, *study.arguments)
    assert process.returncode == 0, process.stderr

    own = SimpleNamespace(results=tmp_path)
    # but for this machine's folders
    folders = machine(study.folder, ROOT)
    names = model_names(yaml.safe_load((study.results / "config.yaml").read_text()))
    for name in ("results", "categories", "rules"):
        told = without_folders(json.dumps(written(own, name)), folders, names)
        assert json.loads(told) == written(study, name)


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
    given = yaml.safe_load((study.results / "config.yaml").read_text())
    folder = Path(given["model"]["path"])
    assert made["config"] == given | {"model": given["model"] | {"path": folder.name}}
    text = json.dumps(made)
    for name in (str(ROOT), str(study.folder), socket.gethostname(), getpass.getuser()):
        assert f'"{name}' not in text
        assert f"/{name}/" not in text


def readable(path):
    """What a file says, with what is packed in it: tables' columns, a report's pages, an archive's
    files.
    """
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield str(table.schema.metadata)
        yield from (str(column.to_pylist()) for column in table.columns)
        return
    content = path.read_bytes()
    if path.suffix == ".gz":
        with tarfile.open(path) as packed:
            for member in packed.getmembers():
                yield member.name
                yield packed.extractfile(member).read().decode(errors="replace")
        return
    text = content.decode(errors="replace")
    if path.suffix == ".html":
        for held in re.findall(r";base64,([A-Za-z0-9+/=]+)", text):
            yield base64.b64decode(held).decode(errors="replace")
        # images hold all combinations of letters
        text = re.sub(r";base64,[A-Za-z0-9+/=]+", "", text)
    yield text


def test_no_file_of_a_study_names_this_machine_or_holds_a_secret(study):
    given = yaml.safe_load((study.results / "config.yaml").read_text())
    folders = machine(study.folder, ROOT, Path(given["model"]["path"]), Path(sys.prefix).parent)
    found = [*study.folder.glob("results/**/*"), *study.folder.glob("figures/**/*")]
    # to be run again on this machine: a job's note, and the configuration as it was given
    own = {study.results / "config.yaml", *study.results.glob("logs/**/*.job.json")}
    # which run holds the results, for whom it refuses; no results
    own.add(study.results / ".lock")
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    files = [path for path in files if path not in own]
    kinds = {path.suffix for path in files}
    assert {".json", ".jsonl", ".parquet", ".safetensors", ".html", ".gz", ".log", ".md"} <= kinds
    host = socket.gethostname()
    private = "|".join([*(rf"{re.escape(folder)}(?![\w-])" for folder in folders), SECRET])
    if len(host) >= 4:
        private += rf"|\b{re.escape(host)}\b"
    for path in files:
        for text in readable(path):
            told = re.search(private, text)
            assert not told, (
                f"{path.relative_to(study.folder)}: {text[max(0, told.start() - 40) :][:99]}"
            )


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
