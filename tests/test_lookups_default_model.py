"""A sample of the default study's lookups, on its real model, equals the plain way."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import plain_lookups as plain
import pytest
from conftest import ROOT

MODEL = ROOT / "results/models/smollm2-135m-instruct"
LOOKUPS = ROOT / "results/default/lookups"
SAMPLE = 4

pytestmark = pytest.mark.skipif(
    not (MODEL / "manifest.json").exists() or not (LOOKUPS / "head_attribution.parquet").exists(),
    reason="needs the default study: snakemake lookups",
)


@pytest.fixture(scope="module")
def lm():
    from steerpaper.model import load

    return load(MODEL, device="cpu", dtype="float32", threads=1)


@pytest.fixture(scope="module")
def ids():
    rows = [
        json.loads(line)
        for split in ("train", "test")
        for line in Path(LOOKUPS / f"corpus.{split}.jsonl").read_text().splitlines()
    ]
    return {row["id"]: row["ids"] for row in rows}


@pytest.fixture(scope="module")
def sample():
    truncated = pd.read_parquet(LOOKUPS / "truncated.parquet")
    return truncated.sample(SAMPLE, random_state=0)


def test_the_default_models_blocks_are_what_they_are_taken_for(lm):
    from steerpaper.weights import check_parts

    check_parts(lm)


def test_sampled_activations_equal_plain_ones_and_truncated_prompts_keep_the_bound(lm, ids, sample):
    for row in sample.itertuples():
        whole = [lm.tokenizer.bos_token_id, *ids[row.prompt_id]]
        column = plain.activations(lm, whole, row.layer)[1:, row.neuron]
        assert int(column.argmax()) == row.end - 1
        assert column.max().item() == pytest.approx(row.activation, rel=1e-4)
        kept = [lm.tokenizer.bos_token_id, *ids[row.prompt_id][row.start : row.end]]
        alone = plain.activations(lm, kept, row.layer)[-1, row.neuron].item()
        assert alone == pytest.approx(row.truncated_activation, rel=1e-4)
        assert alone >= 0.8 * row.activation


def test_sampled_head_attributions_equal_plain_ones(lm, ids, sample):
    table = pd.read_parquet(LOOKUPS / "head_attribution.parquet")
    for row in sample.itertuples():
        mine = table[
            (table["layer"] == row.layer)
            & (table["neuron"] == row.neuron)
            & (table["prompt_id"] == row.prompt_id)
        ]
        ours = mine.pivot_table(index="head_layer", columns="head", values="attribution").to_numpy()
        theirs = plain.attribution(
            lm, row.layer, row.neuron, ids[row.prompt_id][row.start : row.end], True
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
