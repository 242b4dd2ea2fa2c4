"""A figure's job draws for the run's others, and a drawing is taken only where it fits."""

import json
import logging
import os
from pathlib import Path

import pytest

from steerpaper.workflow import ahead
from steerpaper.workflow.job import Job
from steerpaper.workflow.records import record_of

NAMES = ("one", "two", "three")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study's folder with a table a figure."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        table(name).parent.mkdir(parents=True, exist_ok=True)
        table(name).write_text(f"numbers of {name}\n")
    return Path("results/tiny")


def table(name):
    return Path(f"results/tiny/tables/{name}.csv")


def job(name, **changed):
    """The job of a figure, as Snakemake gives it."""
    log = Path(f"results/tiny/logs/figures/{name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "input": {"table": str(table(name))},
        "output": {kind: f"figures/tiny/{name}.{kind}" for kind in ("pdf", "csv")},
        "params": {"blocks": [0, 2]},
        "wildcards": {},
        "log": str(log),
        "rule": f"plot_{name}",
        "code": {"figure.py": "1"},
    }
    return {**told, **changed}


def plan(study, made=(), names=NAMES):
    ahead.plan(study, [job(name) for name in names], made)


class Draws:
    """What a script's `main` does, and for which figures it was called."""

    def __init__(self):
        self.called = []

    def __call__(self, one):
        self.called.append(one.rule.removeprefix("plot_"))
        said = Path(one.input["table"]).read_text()
        if "nothing" in said:
            raise ValueError("no numbers")
        for path in one.output.values():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(f"{said}{one.params}")


def run(name, **changed):
    """Run a figure's job in a process of its own, as far as can be seen: what was drawn by it."""
    draws = Draws()
    ahead.drawn(draws, Job(threads=1, **job(name, **changed)))
    return draws.called


def made(study):
    """All figures and their records."""
    paths = sorted(Path("figures/tiny").iterdir())
    return {path.name: (path.read_text(), record_of(study, path)) for path in paths}


def test_one_job_draws_all_whose_tables_are_there_and_all_is_as_if_each_drew_its_own(study):
    assert [run(name) for name in NAMES] == [[name] for name in NAMES]
    alone = made(study)
    for path in Path("figures/tiny").iterdir():
        path.unlink()
    plan(study)
    assert [run(name) for name in NAMES] == [["one", "two", "three"], [], []]
    assert made(study) == alone
    ahead.forget(study)
    assert not (study / ahead.FOLDER).exists()


@pytest.mark.parametrize(
    "changed", [{"params": {"blocks": [1]}}, {"code": {"figure.py": "2"}}, {"rule": "plot_other"}]
)
def test_what_was_drawn_with_other_settings_or_code_is_drawn_anew(study, changed):
    plan(study)
    run("one")
    assert run("two", **changed)
    assert str(job("two", **changed)["params"]) in Path("figures/tiny/two.pdf").read_text()
    assert run("three") == []


def test_what_was_drawn_of_a_table_that_changed_is_drawn_anew(study):
    plan(study)
    run("one")
    table("two").write_text("other numbers\n")
    assert run("two") == ["two"]
    assert "other numbers" in Path("figures/tiny/two.pdf").read_text()


def test_nothing_is_drawn_of_a_table_before_the_run_has_made_it(study):
    plan(study, made=[str(table("two")), "results/tiny/tables/none.csv"])
    planned = (study / ahead.FOLDER / ahead.PLAN).stat().st_mtime_ns
    for name, since in (("two", -1), ("three", -1)):
        os.utime(table(name), ns=(planned + since, planned + since))
    assert run("one") == ["one", "three"]
    os.utime(table("two"), ns=(planned + 1, planned + 1))
    assert run("two") == ["two"]


def test_a_table_that_is_not_there_is_waited_for_by_its_own_job(study):
    table("two").unlink()
    plan(study)
    assert run("one") == ["one", "three"]


def test_what_fails_is_left_to_its_own_job(study, caplog):
    caplog.set_level(logging.INFO)
    table("two").write_text("nothing\n")
    plan(study)
    assert run("one") == list(NAMES)
    assert "plot_two is left to its own job: no numbers" in caplog.text
    assert run("three") == []
    with pytest.raises(ValueError, match="no numbers"):
        run("two")


def test_a_drawing_that_was_damaged_is_not_taken(study):
    plan(study)
    run("one")
    (study / ahead.FOLDER / "two/two.pdf").write_text("half")
    (study / ahead.FOLDER / "three" / ahead.MADE).write_text("{")
    assert run("two") == ["two"]
    assert run("three") == ["three"]


def test_no_two_jobs_draw_a_figure_for_a_third(study):
    plan(study)
    (study / ahead.FOLDER / "three").mkdir()
    assert run("one") == ["one", "two"]


def test_a_single_figure_is_drawn_alone(study):
    plan(study, names=("one",))
    assert run("one") == ["one"]
    assert not (study / ahead.FOLDER).exists()


def test_what_is_said_while_a_figure_is_drawn_stands_in_its_own_log(study):
    def warns(one):
        logging.getLogger("matplotlib").warning("of %s", one.rule)
        Draws()(one)

    plan(study)
    ahead.drawn(warns, Job(threads=1, **job("one")))
    ahead.drawn(warns, Job(threads=1, **job("two")))
    assert Path(job("two")["log"]).read_text() == "WARNING: of plot_two\n"


def test_the_plan_is_of_the_run_that_begins(study):
    plan(study)
    run("one")
    plan(study, names=("one", "two"))
    noted = json.loads((study / ahead.FOLDER / ahead.PLAN).read_text())
    assert [one["rule"] for one in noted["jobs"]] == ["plot_one", "plot_two"]
    assert run("two") == ["two", "one"]
