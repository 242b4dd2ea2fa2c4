"""The lookups study's scripts, one after the other in this process, on files of their own."""

import hashlib
import importlib

from conftest import ROOT

from steerpaper.workflow.declared import rows_of
from steerpaper.workflow.job import Job

RUN = {"run": {"device": "cpu", "dtype": "float32"}}
CORPUS = {"train": 40, "test": 30, "max_tokens": 40}
NEURONS = {"layers": {"last": 2}, "next_token": 2, "random": 2, "reject": []}


def stage(script, inputs, outputs, *, wildcards=None, budget=1024, **params):
    """Run a stage's script: its `main` on a job."""
    job = Job(inputs, outputs, params, wildcards or {}, threads=1, log="", batch_tokens=budget)
    importlib.import_module(script).main(job)


def find_neurons(folder, model):
    """The first stage, which has no batches and no shards: its tables by name."""
    tables = {name: str(folder / f"{name}.parquet") for name in ("neurons", "rejected", "tokens")}
    stage(
        "lookups.neurons", {"model": str(model / "engine.json")}, tables, **NEURONS, seed=1, **RUN
    )
    return tables


def study(
    folder,
    model,
    raw,
    neurons,
    *,
    corpus=CORPUS,
    budget=512,
    shards=1,
    top=4,
    ratio=0.8,
    published=False,
):
    """All stages after the first; the folder then holds their files and no other.

    `neurons` has the first one's tables; `published` is the authors' choices.
    """
    folder.mkdir()
    run = {**RUN, "budget": budget}
    prompts = {split: str(folder / f"corpus.{split}.jsonl") for split in ("train", "test")}
    common = {**prompts, "model": str(model / "engine.json"), **neurons}

    def at(name):
        return str(folder / name)

    stage(
        "lookups.corpus",
        common | {"raw": str(raw)},
        {**prompts, "counts": at("corpus.csv")},
        column="text",
        seed=1,
        bos=True,
        **corpus,
    )
    parts = [at(f"part-{shard}.parquet") for shard in range(shards)]
    for shard, part in enumerate(parts):
        wildcards = {"shard": str(shard), "shards": str(shards)}
        options = {"top": top, "bos": True, **run}
        stage("lookups.max_activations", common, {"part": part}, wildcards=wildcards, **options)
    common["activations"] = at("max_activations.parquet")
    outputs = {"activations": common["activations"], "counts": at("firing.csv")}
    stage("lookups.merge_activations", {**common, "parts": parts}, outputs, top=top)
    common["truncated"] = at("truncated.parquet")
    stage(
        "lookups.truncation",
        common,
        {
            "truncated": common["truncated"],
            "serialized": at("truncated.jsonl"),
            "counts": at("truncation.csv"),
        },
        ratio=ratio,
        max_tokens=30,
        bos=True,
        published=published,
        **run,
    )
    common["attribution"] = at("head_attribution.parquet")
    outputs = {"attribution": common["attribution"]}
    stage("lookups.head_attribution", common, outputs, published=published, bos=True, **run)
    common["heads"] = at("chosen_heads.parquet")
    outputs = {"heads": common["heads"]}
    stage("lookups.chosen_heads", common, outputs, active=[0.25, 0.75], per_neuron=2, seed=1)
    common["scores"] = at("explanation_scores.parquet")
    stage(
        "lookups.explanations",
        common,
        {
            "explanations": at("explanations.jsonl"),
            "verdicts": at("explanation_verdicts.parquet"),
            "scores": common["scores"],
        },
        explainer="local",
        date="2024-07-26",
        examples=2,
        published=published,
        max_new_tokens=4,
        **run,
    )
    ablated = {
        "head_ablation": at("head_ablation.parquet"),
        "neuron_ablation": at("neuron_ablation.parquet"),
    }
    outputs = {"heads": ablated["head_ablation"], "neurons": ablated["neuron_ablation"]}
    stage("lookups.ablations", common, outputs, bos=True, published=published, seed=1, **run)
    row = rows_of(ROOT / "report/tables.yaml")["lookups_tables"]
    # tables know the model by its manifest
    known = {**common, **ablated, "corpus": prompts["train"], "model": str(model / "manifest.json")}
    known["published"] = str(ROOT / "data/published/neo-2024.csv")
    inputs = {name: known[name] for name in row["from"]}
    stage(
        "table",
        inputs,
        {name: at(f"{name}.csv") for name in row["tables"]}
        | {page: at(page) for page in row["pages"]},
        make=row["make"],
        finish="",
        labels=[],
        names={name: [[]] for name in inputs},
        parts=[],
        settings={"interval": {"seed": 1, "resamples": 200, "confidence": 0.95}},
    )
    for part in parts:
        (folder / part).unlink()
    return folder


def digests(folder):
    """Every file's digest, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
