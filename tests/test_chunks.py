"""Jobs for several behaviours: who goes together, what is kept, the same bytes as one by one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from asked import rules_of
from conftest import ROOT
from study import make_study, planned, snakemake

from steerpaper.errors import UserError
from steerpaper.workflow import chunks
from steerpaper.workflow.files import write_json
from steerpaper.workflow.job import Job, recorded
from steerpaper.workflow.records import record_of

NAMES = ["a", "b", "c", "d", "e"]


def nothing(_):
    return False


def test_behaviors_are_cut_in_their_order():
    assert chunks.cut(NAMES, 2, [], nothing) == [["a", "b"], ["c", "d"], ["e"]]
    assert chunks.cut(NAMES, 1, [], nothing) == [[name] for name in NAMES]
    assert chunks.cut(NAMES, 5, [], nothing) == [NAMES]
    assert chunks.cut([], 1, [], nothing) == []


def test_what_is_made_keeps_its_cut_and_the_rest_is_cut_anew():
    before = [["a", "b"], ["c", "d"]]
    assert chunks.cut(NAMES, 5, before, {"b"}.__contains__) == [["a", "b"], ["c", "d", "e"]]
    # made one by one, before behaviours went together
    assert chunks.cut(NAMES, 5, [], {"b"}.__contains__) == [["b"], ["a", "c", "d", "e"]]
    # nothing of it is what the configuration would make today
    assert chunks.cut(NAMES, 3, before, nothing) == [["a", "b", "c"], ["d", "e"]]
    # a behaviour that is no longer studied
    assert chunks.cut(NAMES[1:], 4, before, {"b", "c"}.__contains__) == [["c", "d"], ["b", "e"]]


@pytest.mark.parametrize("behaviors", [["a"], NAMES])
@pytest.mark.parametrize("made", [set(), {"a"}, {"a", "c"}, set(NAMES)])
@pytest.mark.parametrize("before", [[], [["a", "b"]], [["a", "b", "c", "d", "e"]]])
def test_every_behavior_is_in_one_group(behaviors, made, before):
    groups = chunks.cut(behaviors, 2, before, made.__contains__)
    assert sorted(name for group in groups for name in group) == sorted(behaviors)


def chunk_job(study, *, factor=2):
    """A job that writes, for two behaviours, a file's number times a factor."""
    names = ["one", "two"]
    return Job(
        input={"number": [f"{study}/{name}.json" for name in names], "same": f"{study}/all.json"},
        output={"both": [f"{study}/{name}.{k}.out.json" for name in names for k in (1, 2)]},
        params={"factor": factor},
        wildcards={"shard": "0"},
        threads=1,
        log=f"{study}/logs/chunk_times_1/job.0.log",
        rule="chunk_times_1",
        code={"times.py": "1"},
        how={
            "else": 1,
            "chunk": {
                "rule": "times",
                "script": "times.py",
                "behaviors": names,
                "log": "logs/times/{behavior}.{shard}.log",
                "input": {"number": False},
                "output": {"both": True},
            },
        },
    )


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder of results with what the job reads."""
    monkeypatch.chdir(tmp_path)
    study = Path("results/tiny")
    for number, name in enumerate(["one", "two", "all"]):
        write_json(study / f"{name}.json", {"number": number})
    return study


def times(job):
    for path in job.output["both"]:
        number = json.loads(Path(job.input["number"]).read_text())["number"]
        write_json(path, {"number": number * job.params["factor"]})


def test_a_chunk_s_job_stands_for_the_jobs_of_its_behaviors(study):
    one, two = chunks.jobs_of(chunk_job(study))
    assert one.input == {"number": f"{study}/one.json", "same": f"{study}/all.json"}
    assert two.output == {"both": [f"{study}/two.1.out.json", f"{study}/two.2.out.json"]}
    assert two.wildcards == {"behavior": "two", "shard": "0"}
    assert two.log == f"{study}/logs/times/two.0.log"
    assert (two.rule, two.how, two.params) == ("times", {"else": 1}, {"factor": 2})


def do(job):
    """Make a behaviour's files and keep them."""
    recorded(times, job)
    chunks.keep(Path("results/tiny"), job.output["both"])


def test_finished_files_are_put_back_as_they_were_and_only_where_nothing_differs(study):
    one, two = chunks.jobs_of(chunk_job(study))
    do(one)
    before = {path: (Path(path).read_bytes(), os.stat(path).st_ino) for path in one.output["both"]}
    for path in before:
        Path(path).unlink()
    assert chunks.put_back(one)
    assert not chunks.put_back(two)
    assert before == {path: (Path(path).read_bytes(), os.stat(path).st_ino) for path in before}
    # other settings, other code, another input
    assert not chunks.put_back(next(chunks.jobs_of(chunk_job(study, factor=3))))
    record = record_of(study, one.output["both"][1])
    place = study / "records/one.2.out.json.json"
    write_json(place, {**record, "code": {"times.py": "2"}})
    assert not chunks.put_back(one)
    write_json(place, record)
    assert chunks.put_back(one)
    write_json(study / "one.json", {"number": 7})
    assert not chunks.put_back(one)


def test_a_kept_file_that_was_damaged_is_not_put_back(study):
    one, _ = chunks.jobs_of(chunk_job(study))
    do(one)
    (study / ".kept/one.2.out.json").write_text("{}")
    assert not chunks.put_back(one)


def test_what_is_kept_outlives_its_removal_and_is_let_go_of(study):
    one, _ = chunks.jobs_of(chunk_job(study))
    do(one)
    # what is not there keeps what was kept of it
    Path(one.output["both"][0]).unlink()
    chunks.keep(study, one.output["both"])
    assert chunks.put_back(one)
    chunks.forget(study)
    assert not chunks.put_back(one)
    assert not (study / ".kept").exists()


def test_a_file_system_without_second_names_has_copies(study, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    one, _ = chunks.jobs_of(chunk_job(study))
    do(one)
    for path in one.output["both"]:
        Path(path).unlink()
    assert chunks.put_back(one)
    assert json.loads(Path(one.output["both"][0]).read_text()) == {"number": 0}


def test_made_as_told_follows_settings_code_and_inputs(study):
    one, two = chunks.jobs_of(chunk_job(study))
    do(two)
    path = two.output["both"][0]
    further = Job({"it": path}, {"both": [f"{study}/last.json"]}, {}, {}, 1, one.log, rule="last")
    recorded(lambda job: write_json(job.output["both"][0], {}), further)
    rules = {
        "times": {"settings": {"factor": 2}, "code": {"times.py": "1"}},
        "last": {"settings": {}, "code": {}},
    }

    def is_made(path, **changed):
        now = rules | changed
        return chunks.made_as_told(study, lambda rule, _: now.get(rule))(path)

    assert is_made(f"{study}/last.json")
    assert not is_made(f"{study}/nothing.json")
    assert not is_made(f"{study}/last.json", last=None)
    assert not is_made(
        f"{study}/last.json", times={"settings": {"factor": 3}, "code": {"times.py": "1"}}
    )
    do(next(chunks.jobs_of(chunk_job(study, factor=3))))
    assert is_made(f"{study}/last.json")
    # what it was made from was made anew, and differs
    _, other = chunks.jobs_of(chunk_job(study, factor=3))
    do(other)
    assert not is_made(
        f"{study}/last.json", times={"settings": {"factor": 3}, "code": {"times.py": "1"}}
    )


def test_a_behavior_s_log_says_what_ended_its_job(tmp_path):
    with pytest.raises(UserError), chunks.logged_to(tmp_path / "logs/one.log"):
        raise UserError("the file is bad")
    assert (tmp_path / "logs/one.log").read_text() == "ERROR: the file is bad\n"
    with pytest.raises(ZeroDivisionError), chunks.logged_to(tmp_path / "logs/two.log"):
        _ = 1 / 0
    assert "ZeroDivisionError" in (tmp_path / "logs/two.log").read_text()


def test_a_model_that_is_shared_is_loaded_once(monkeypatch):
    from steerpaper.engine import model, shared

    calls = []
    monkeypatch.setattr(model, "load_manifest", lambda path, **how: calls.append(path) or object())
    shared.share_model()
    shared.share_model()
    first = model.load_manifest("m", device="cpu", threads=1)
    assert model.load_manifest("m", threads=1, device="cpu") is first
    assert model.load_manifest("m", device="cpu", threads=2) is not first
    assert calls == ["m", "m"]


@pytest.mark.parametrize("value", [0, -1, "many", 1.5, True])
def test_other_numbers_of_behaviors_are_refused(value):
    from steerpaper.workflow.config import validated

    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"behaviors_per_job": value}
    with pytest.raises(UserError, match="behaviors_per_job"):
        validated(config, ROOT / "config.schema.yaml")


@pytest.mark.workflow
def test_every_rule_that_runs_the_model_for_one_behavior_has_one_for_several(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["behaviors_per_job"] = "all"
    for section in config["steering"].values():
        if isinstance(section, dict) and "behaviors" in section:
            section["behaviors"] = "all"
    config["steering"]["ratings"] |= {"judge": "local"}
    rules = rules_of(tmp_path, config)
    several = {name[6:-2]: rule for name, rule in rules.items() if name.startswith("chunk_")}
    alone = {
        name: rule
        for name, rule in rules.items()
        if "gpu" in rule["resources"]
        and any("{behavior" in path for path in rule["output"])
        and not name.startswith("chunk_")
    }
    assert several.keys() == alone.keys()
    assert len(alone) == 15
    behaviors = config["steering"]["behaviors"]
    for name, rule in several.items():
        own = alone[name]
        # wildcards come with what they may be
        templates = [re.sub(r"\{behavior[^}]*\}", "{}", path) for path in own["output"]]
        assert sorted(rule["output"]) == sorted(
            path.replace("{}", behavior) for path in templates for behavior in behaviors
        )
        # so that Snakemake sees no other settings and code
        for key in ("settings", "code"):
            assert rule["params"][key] == own["params"][key]
        assert rule["resources"].keys() == own["resources"].keys()


SHARD = "results/tiny/steering/shards/{}.letters.dev.1-of-2.parquet"


@pytest.mark.workflow
def test_chunks_make_the_same_bytes_and_make_again_what_has_changed_alone(tmp_path, model_folders):
    folders = {size: tmp_path / str(size) for size in (1, 2)}
    targets = [SHARD.format(name) for name in ("one", "two")]
    for size, folder in folders.items():
        folder.mkdir()
        config = make_study(folder, model_folders["llama"])
        config["steering"] |= {"contrasts": ["letters"]}
        config["steering"]["sweep"]["shards"] = 2
        config |= {"behaviors_per_job": size, "studies": ["steering"]}
        process = snakemake(folder, config, *targets)
        assert process.returncode == 0, process.stderr
    made = [
        path.relative_to(folders[1])
        for part in ("activations", "vectors", "steering")
        for path in (folders[1] / "results/tiny" / part).rglob("*.*")
    ]
    assert len(made) == 8
    for path in made:
        assert (folders[1] / path).read_bytes() == (folders[2] / path).read_bytes(), path
    folder, results = folders[2], folders[2] / "results/tiny"
    # once for two behaviours, and each has a log, a note and a record as if it had been alone
    log = (results / "logs/chunk_sweep_1/job.1-of-2.log").read_text()
    assert log.count("INFO: model tiny") == 1
    assert (results / "logs/sweep/two.1-of-2.log").exists()
    note = json.loads((results / "logs/sweep/two.1-of-2.log.job.json").read_text())
    assert note["rule"] == "sweep"
    records = [
        record_of(place, place / "activations/two.letters.safetensors")
        for place in (one_folder / "results/tiny" for one_folder in folders.values())
    ]
    assert records[0] == records[1]
    assert not (results / ".kept").exists()
    # another size makes nothing anew
    for size in (1, "all"):
        assert planned(folder, config | {"behaviors_per_job": size}, *targets) == set()
    # another item in one behaviour's data
    items = folder / "two.json"
    items.write_text(items.read_text().replace("friend", "companion"))
    kept = results / "activations/one.letters.safetensors"
    before = os.stat(kept).st_ino, (results / "logs/activations/one.log").stat().st_mtime_ns
    process = snakemake(folder, config, *targets)
    assert process.returncode == 0, process.stderr
    assert before == (
        os.stat(kept).st_ino,
        (results / "logs/activations/one.log").stat().st_mtime_ns,
    )
    log = (results / "logs/chunk_activations_1/job.log").read_text()
    assert log.startswith("INFO: one: was done before\nINFO: two\n")
    assert planned(folder, config, *targets) == set()
    resumed(folder)


def resumed(folder):
    """A chunk that was killed after its first behaviour goes on at the second."""
    results = folder / "results/tiny"
    note = results / "logs/chunk_activations_1/job.log.job.json"
    outputs = json.loads(note.read_text())["output"]["activations"]
    before = {path: (folder / path).read_bytes() for path in outputs}
    os.makedirs(results / ".kept/activations")
    os.rename(folder / outputs[0], results / ".kept" / Path(outputs[0]).relative_to("results/tiny"))
    (folder / outputs[1]).unlink()
    script = ROOT / "scripts/chunk.py"
    process = subprocess.run([sys.executable, script, note], cwd=folder, capture_output=True)
    assert process.returncode == 0, process.stderr
    log = (results / "logs/chunk_activations_1/job.log").read_text()
    assert log.startswith("INFO: one: was done before\nINFO: two\nINFO: model")
    assert {path: (folder / path).read_bytes() for path in outputs} == before
