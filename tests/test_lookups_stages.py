"""The stages' scripts, from a corpus file to attributions: identical in any split of the work."""

import hashlib
import importlib
import json

import pandas as pd
import pytest
from conftest import ROOT

from steerpaper.config import validated
from steerpaper.errors import UserError
from steerpaper.files import write_jsonl
from steerpaper.job import Job

RUN = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def stage():
    """Run a stage's script in this process: its `main` on a job."""
    import sys

    sys.path.insert(0, str(ROOT / "scripts"))

    def run(script, inputs, outputs, **params):
        wildcards = {name: str(params.pop(name)) for name in ("shard",) if name in params}
        job = Job(inputs, outputs, params, wildcards, threads=1, log="")
        importlib.import_module(script).main(job)

    yield run
    sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "corpus.jsonl"
    lines = (ROOT / "data/behaviors/warmth.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    write_jsonl(path, [{"text": f"{row['question']} {row['matching']}"} for row in rows])
    return path


def study(stage, folder, model, raw, *, budget=512, shards=1, top=4, ratio=0.8):
    """All stages with a tiny model; returns the folder's files."""
    folder.mkdir()
    manifest = model / "manifest.json"
    manifest.write_text(json.dumps({"name": "tiny", "revision": "test"}))
    run = {**RUN, "batch_tokens": budget}
    corpus = {split: str(folder / f"corpus.{split}.jsonl") for split in ("train", "test")}
    shared = {**corpus, "model": str(manifest)}

    def at(name):
        return str(folder / name)

    stage(
        "corpus",
        {"model": str(manifest)},
        {**corpus, "counts": at("corpus.csv")},
        source="file",
        where={"path": str(raw), "column": "text"},
        train=40,
        test=30,
        max_tokens=40,
        seed=1,
    )
    stage(
        "neurons",
        shared,
        {"neurons": at("n.parquet"), "rejected": at("r.parquet"), "tokens": at("t.parquet")},
        layers={"last": 2},
        next_token=2,
        random=2,
        seed=1,
        **run,
    )
    parts = [at(f"part-{shard}.parquet") for shard in range(shards)]
    for shard, part in enumerate(parts):
        stage(
            "max_activations",
            {**shared, "neurons": at("n.parquet")},
            {"part": part},
            shard=shard,
            shards=shards,
            top=top,
            bos=True,
            **run,
        )
    stage(
        "merge_activations",
        {**shared, "neurons": at("n.parquet"), "parts": parts},
        {"activations": at("max_activations.parquet"), "counts": at("firing.csv")},
        top=top,
    )
    stage(
        "truncation",
        {**shared, "neurons": at("n.parquet"), "activations": at("max_activations.parquet")},
        {
            "truncated": at("truncated.parquet"),
            "serialized": at("truncated.jsonl"),
            "counts": at("truncation.csv"),
        },
        ratio=ratio,
        max_tokens=30,
        bos=True,
        **run,
    )
    stage(
        "head_attribution",
        {**shared, "truncated": at("truncated.parquet")},
        {"attribution": at("head_attribution.parquet")},
        published=False,
        bos=True,
        **run,
    )
    return folder


def digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.startswith("part-")
    }


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_files_are_identical_over_runs_batch_budgets_and_shards(
    stage, tmp_path, model_folders, corpus_file, name
):
    model = model_folders[name]
    first = digests(study(stage, tmp_path / "first", model, corpus_file))
    assert len(first) == 12
    for number, options in enumerate(({}, {"budget": 60}, {"budget": 5000, "shards": 3})):
        other = study(stage, tmp_path / f"other-{number}", model, corpus_file, **options)
        assert digests(other) == first, options


def test_files_fit_together_and_say_what_they_hold(stage, tmp_path, model_folders, corpus_file):
    folder = study(stage, tmp_path / "study", model_folders["llama"], corpus_file)
    neurons = pd.read_parquet(folder / "n.parquet")
    top = pd.read_parquet(folder / "max_activations.parquet")
    truncated = pd.read_parquet(folder / "truncated.parquet")
    attribution = pd.read_parquet(folder / "head_attribution.parquet")
    counts = pd.read_csv(folder / "truncation.csv")
    key = ["layer", "neuron"]
    assert list(top) == [*key, "split", "rank", "prompt_id", "position", "activation"]
    columns = ["start", "end", "activation", "truncated_activation", "text"]
    assert list(truncated) == [*key, "split", "rank", "prompt_id", *columns]
    columns = ["split", "prompt_id", "head_layer", "head", "attribution", "active"]
    assert list(attribution) == [*key, *columns]
    assert len(neurons) == 8
    assert counts["prompts"].sum() == len(top)
    assert counts["too_long"].sum() == len(top) - len(truncated)
    assert (truncated["truncated_activation"] >= 0.8 * truncated["activation"]).all()
    assert (truncated["start"] < truncated["end"]).all()
    # heads of blocks 0 to the neuron's own, four a block
    heads = truncated["layer"].map(lambda layer: 4 * (layer + 1)).sum()
    assert len(attribution) == heads
    corpus = {}
    for split in ("train", "test"):
        for line in (folder / f"corpus.{split}.jsonl").read_text().splitlines():
            row = json.loads(line)
            corpus[row["id"]] = row["ids"]
    lines = [json.loads(line) for line in (folder / "truncated.jsonl").read_text().splitlines()]
    assert len(lines) == len(truncated)
    for line, row in zip(lines, truncated.itertuples(), strict=True):
        assert line["ids"] == corpus[row.prompt_id][row.start : row.end]
        assert line["text"] == row.text


def test_prompts_longer_than_allowed_after_truncation_are_left_out_and_counted(
    stage, tmp_path, model_folders, corpus_file
):
    # with ratio 1 hardly any prompt can be shortened
    folder = study(stage, tmp_path / "study", model_folders["llama"], corpus_file, ratio=1.0)
    counts = pd.read_csv(folder / "truncation.csv")
    truncated = pd.read_parquet(folder / "truncated.parquet")
    assert (truncated["end"] - truncated["start"]).max() <= 30
    assert counts["too_long"].sum() > 0


def check(**lookups):
    import yaml

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["lookups"] = {**config["lookups"], **lookups}
    return validated(config, ROOT / "config.schema.yaml")


@pytest.mark.parametrize(
    ("lookups", "message"),
    [
        ({"top": 500}, "lookups.top: 500 prompts a neuron are asked for, but lookups.corpus.train"),
        ({"corpus": {"source": "file"}}, "lookups.corpus.file' is missing"),
        ({"corpus": {"source": "file", "file": {"path": "no.txt"}}}, "no file at no.txt"),
        ({"corpus": {"source": "hub", "hub": {"id": "x", "revision": "main"}}}, "40 hex digits"),
        ({"corpus": {"shards": 9999}}, "lookups.corpus.shards: 9999 is more than"),
        ({"corpus": {"max_tokens": 0}}, "lookups.corpus.max_tokens: 0 is not allowed"),
        ({"truncation": {"ratio": 1.5}}, "lookups.truncation.ratio: 1.5 is not allowed"),
        ({"layers": {"last": 0}}, "lookups.layers"),
        ({"tops": 3}, "did you mean 'top'"),
    ],
)
def test_a_wrong_key_is_named(lookups, message):
    with pytest.raises(UserError) as caught:
        check(**lookups)
    assert message in str(caught.value)
