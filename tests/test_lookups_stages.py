"""The stages' scripts, from a corpus file to attributions: identical in any split of the work."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, mostly_long
from lookups_stages import digests, find_neurons, study
from tiny_models import name_model

import steerpaper.finite
from steerpaper.errors import UserError
from steerpaper.workflow.config import validated
from steerpaper.workflow.files import write_jsonl


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "corpus.jsonl"
    lines = (ROOT / "data/behaviors/warmth.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    write_jsonl(path, [{"text": f"{row['question']} {row['matching']}"} for row in rows])
    return path


@pytest.fixture(params=mostly_long(["llama", "gpt2", "gpt_neox", "gemma2"], "llama"))
def model(request, model_folders):
    return name_model(model_folders[request.param])


@pytest.fixture
def llama(model_folders, tmp_path):
    """A model's folder and its neurons' tables."""
    folder = name_model(model_folders["llama"])
    return folder, find_neurons(tmp_path, folder)


def test_files_are_identical_over_runs_batch_budgets_and_shards(tmp_path, model, corpus_file):
    neurons = find_neurons(tmp_path, model)
    first = digests(study(tmp_path / "first", model, corpus_file, neurons))
    assert len(first) == 26
    for number, options in enumerate(({}, {"budget": 60}, {"budget": 5000, "shards": 3})):
        other = study(tmp_path / f"other-{number}", model, corpus_file, neurons, **options)
        assert digests(other) == first, options
    again = tmp_path / "again"
    again.mkdir()
    for name, path in find_neurons(again, model).items():
        assert Path(path).read_bytes() == Path(neurons[name]).read_bytes()


def test_files_fit_together_and_say_what_they_hold(tmp_path, llama, corpus_file):
    model, tables = llama
    folder = study(tmp_path / "study", model, corpus_file, tables)
    neurons = pd.read_parquet(tables["neurons"])
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


def test_the_scale_of_a_norm_behind_the_heads_stands_beside_their_attribution(
    tmp_path, model_folders, corpus_file
):
    model = name_model(model_folders["gemma2"])
    folder = study(tmp_path / "study", model, corpus_file, find_neurons(tmp_path, model))
    table = pd.read_parquet(folder / "head_attribution.parquet")
    key = ["layer", "neuron", "split", "prompt_id", "head_layer"]
    assert (table["heads_scale"] > 0).all()
    # one a prompt and block, whatever the head
    alike = table.groupby(key)["heads_scale"].agg(["min", "max"])
    assert (alike["min"] == alike["max"]).all()
    assert table["heads_scale"].nunique() > 10


def test_prompts_longer_than_allowed_after_truncation_are_left_out_and_counted(
    tmp_path, llama, corpus_file
):
    # with ratio 1 hardly any prompt can be shortened
    model, tables = llama
    folder = study(tmp_path / "study", model, corpus_file, tables, ratio=1.0)
    counts = pd.read_csv(folder / "truncation.csv")
    truncated = pd.read_parquet(folder / "truncated.parquet")
    assert (truncated["end"] - truncated["start"]).max() <= 30
    assert counts["too_long"].sum() > 0


def test_the_authors_choices_reach_every_stage(tmp_path, llama, corpus_file):
    model, tables = llama
    folder = study(tmp_path / "study", model, corpus_file, tables, ratio=1.0, published=True)
    truncated = pd.read_parquet(folder / "truncated.parquet")
    # fewer tokens than the limit, where ours may have as many
    assert 0 < (truncated["end"] - truncated["start"]).max() < 30
    attribution = pd.read_parquet(folder / "head_attribution.parquet")
    # heads of the blocks before the neuron's own, four a block
    heads = truncated["layer"].map(lambda layer: 4 * layer).sum()
    assert len(attribution) == heads
    assert (attribution["head_layer"] < attribution["layer"]).all()
    # the explainer is told the token, with which every prompt ends, and sees all train prompts
    explained = [
        json.loads(row) for row in (folder / "explanations.jsonl").read_text().splitlines()
    ]
    neurons = pd.read_parquet(tables["neurons"]).set_index(["layer", "neuron"])["token"]
    shown = [row for row in explained if row["question"]]
    assert shown
    for row in shown:
        token = json.dumps(neurons[row["layer"], row["neuron"]], ensure_ascii=False)
        assert f"It helps to predict the token {token}" in row["question"]
    assert pd.read_parquet(folder / "head_ablation.parquet")["ablated_logprob"].notna().all()


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


def test_every_stage_looks_at_the_numbers_of_the_model_that_it_writes(
    tmp_path, model_folders, corpus_file, monkeypatch
):
    looked = {}

    def finite(path, table, columns):
        looked.setdefault(Path(path).name, set()).update(columns)
        return real(path, table, columns)

    real = steerpaper.finite.finite
    monkeypatch.setattr(steerpaper.finite, "finite", finite)
    model = name_model(model_folders["llama"])
    study(tmp_path / "study", model, corpus_file, find_neurons(tmp_path, model))
    assert looked == {
        "neurons.parquet": {"congruence"},
        "tokens.parquet": {"congruence"},
        "part-0.parquet": {"activation"},
        "truncated.parquet": {"truncated_activation"},
        "head_attribution.parquet": {"attribution"},
        "head_ablation.parquet": {"logprob", "ablated_logprob"},
        "neuron_ablation.parquet": {"logprob", "ablated_logprob"},
    }
