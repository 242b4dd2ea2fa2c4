"""A small lookups study of the default model: equal to the plain way, identical in any split."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import plain_lookups as plain
import pytest
from lookups_stages import digests, study

from steerpaper.engine.weights import head_count, neurons_out
from steerpaper.lookups.ablations import Ablation
from steerpaper.lookups.corpus import read_corpus
from steerpaper.lookups.neurons import (
    best_congruence,
    choose_neurons,
    read_directions,
    token_table,
    token_texts,
)
from steerpaper.lookups.raw import stdlib_texts
from steerpaper.workflow.files import write_jsonl, write_table

CORPUS = {"train": 30, "test": 30, "max_tokens": 24}
LAYER = 20
SAMPLE = 4


@pytest.fixture(scope="module")
def lm(default_model):
    with pytest.MonkeyPatch.context() as patch:
        # a study loads it once a stage
        loaded = default_model, {}
        patch.setattr("steerpaper.engine.model.load_manifest", lambda *_, **__: loaded)
        yield default_model


@pytest.fixture(scope="module")
def neurons(lm, tmp_path_factory):
    """The tables of the stage `neurons` from one block's weights: all blocks take a minute."""
    found = best_congruence([neurons_out(lm, LAYER).float()], read_directions(lm), [0])
    best = replace(found, token={LAYER: found.token[0]}, congruence={LAYER: found.congruence[0]})
    texts = token_texts(lm.tokenizer, len(best.layer))
    special = frozenset(lm.tokenizer.all_special_ids)
    tables = choose_neurons(best, texts, special, [LAYER], next_token=2, random=1, seed=1)
    tables = dict(zip(("neurons", "rejected"), tables, strict=True))
    tables["tokens"] = token_table(best, texts, special)
    folder = tmp_path_factory.mktemp("neurons")
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table)
    return {name: str(folder / f"{name}.parquet") for name in tables}


@pytest.fixture(scope="module")
def run(lm, default_folder, neurons, tmp_path_factory):
    """Run the study with options, in a folder of its own."""
    raw = tmp_path_factory.mktemp("raw") / "texts.jsonl"
    write_jsonl(raw, [{"text": entry.text} for entry in islice(stdlib_texts(), 80)])

    def run_with(**options):
        folder = tmp_path_factory.mktemp("study") / "files"
        return study(folder, default_folder, raw, neurons, corpus=CORPUS, top=3, **options)

    return run_with


@pytest.fixture(scope="module")
def finished(run):
    return run(budget=1024)


@pytest.fixture(scope="module")
def ids(finished):
    """Token ids by prompt, and by split."""
    return {
        split: {prompt.id: prompt.ids for prompt in read_corpus(finished / f"corpus.{split}.jsonl")}
        for split in ("train", "test")
    }


@pytest.fixture(scope="module")
def sample(finished):
    truncated = pd.read_parquet(finished / "truncated.parquet")
    return truncated.sample(SAMPLE, random_state=0)


def begun(lm, row, ids):
    return [lm.tokenizer.bos_token_id, *ids[row.split][row.prompt_id][row.start : row.end]]


@pytest.mark.long
def test_all_files_are_identical_with_another_budget_and_other_shards(run, finished):
    first, other = digests(finished), digests(run(budget=300, shards=3))
    assert len(first) == 26
    assert {name for name in first if other[name] != first[name]} == set()


def test_neurons_tokens_equal_those_of_one_neuron_at_a_time(lm, neurons):
    table = pd.read_parquet(neurons["neurons"])
    for row in table.itertuples():
        token, congruence = plain.best_token(lm, row.layer, row.neuron)
        assert row.token_id == token
        assert row.congruence == pytest.approx(congruence, rel=1e-4)
    # no neuron of the block that is not rejected is more congruent than the second that was taken
    named = table[table["kind"] == "next_token"]
    rejected = set(pd.read_parquet(neurons["rejected"])["neuron"])
    others = set(range(len(neurons_out(lm, LAYER)))) - rejected - set(named["neuron"])
    for neuron in np.random.default_rng(0).choice(sorted(others), size=30, replace=False):
        assert plain.best_token(lm, LAYER, neuron)[1] <= named["congruence"].min() * (1 + 1e-4)


@pytest.mark.long
def test_top_activations_equal_a_full_sort_of_plain_passes(lm, finished, ids):
    table = pd.read_parquet(finished / "max_activations.parquet")
    keys = ["layer", "neuron"]
    chosen = {LAYER: sorted(set(table["neuron"]))}
    prompts = ids["test"]
    for layer, neuron, rows in plain.top(lm, chosen, list(prompts.values()), 3, True):
        mine = table[(table["split"] == "test") & (table[keys] == [layer, neuron]).all(axis=1)]
        activation, number, position = map(list, zip(*rows, strict=True))
        assert mine["prompt_id"].tolist() == [list(prompts)[prompt] for prompt in number]
        assert mine["position"].tolist() == position
        np.testing.assert_allclose(mine["activation"], activation, rtol=1e-4)


def test_truncated_prompts_are_those_of_a_plain_scan_and_keep_the_bound_alone(lm, sample, ids):
    for row in sample.itertuples():
        whole = ids[row.split][row.prompt_id][: row.end]
        length, activation = plain.shortest(lm, row.layer, row.neuron, whole, 0.8, True)
        assert row.end - row.start == length
        assert row.truncated_activation == pytest.approx(activation, rel=1e-4)
        alone = plain.activations(lm, begun(lm, row, ids), row.layer)[-1, row.neuron].item()
        assert alone >= 0.8 * row.activation


def test_head_attributions_equal_one_head_at_a_time(lm, finished, sample, ids):
    table = pd.read_parquet(finished / "head_attribution.parquet")
    keys = ["layer", "neuron", "prompt_id"]
    for row in sample.itertuples():
        mine = table[(table[keys] == [row.layer, row.neuron, row.prompt_id]).all(axis=1)]
        ours = mine.pivot_table(index="head_layer", columns="head", values="attribution").to_numpy()
        tokens = begun(lm, row, ids)[1:]
        theirs = plain.attribution(lm, row.layer, row.neuron, tokens, True)
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
        active = theirs > theirs.mean() + 2 * theirs.std(ddof=1)
        assert mine["active"].tolist() == active.ravel().tolist()


@pytest.mark.parametrize("site", ["heads", "neurons"])
def test_ablations_equal_one_hook_at_a_time(lm, finished, ids, site):
    table = pd.read_parquet(finished / f"{site.removesuffix('s')}_ablation.parquet")
    assert len(table) >= SAMPLE
    for row in table.sample(SAMPLE, random_state=0).itertuples():
        unit = (row.head_layer, row.head) if site == "heads" else (row.layer, row.neuron)
        units = head_count(lm) if site == "heads" else len(neurons_out(lm, 0))
        ablation = Ablation(tuple(begun(lm, row, ids)), site, *unit, row.token_id)
        clean, without, _ = plain.ablation(lm, ablation, units)
        assert row.logprob == pytest.approx(clean, abs=1e-3)
        assert row.ablated_logprob == pytest.approx(without, abs=1e-3)
        assert row.drop == pytest.approx(np.exp(clean) - np.exp(without), rel=1e-2, abs=1e-7)


def test_explanations_were_written_and_scored(finished):
    lines = (finished / "explanations.jsonl").read_text().splitlines()
    assert any(json.loads(line)["explanation"] for line in lines)
