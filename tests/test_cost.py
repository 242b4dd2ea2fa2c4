"""The cost of steering: perplexity and accuracy are what plain forward passes give."""

import copy
import json
from dataclasses import replace

import numpy as np
import plain
import pytest
import torch
from conftest import ROOT
from transformers import AddedToken

from steerpaper.engine.condition import Condition
from steerpaper.engine.score import score
from steerpaper.engine.text import choices, control_tokens
from steerpaper.engine.turns import render
from steerpaper.errors import UserError
from steerpaper.stats import Interval
from steerpaper.steering.cost import knowledge_rows, text_logprobs, text_rows
from steerpaper.steering.cost_prompts import Text, read_knowledge, read_neutral, text_ids
from steerpaper.steering.projection import (
    Scale,
    parts,
    project,
    project_answers,
    scale,
    token_texts,
)
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.scores import with_norms
from steerpaper.steering.tables.cost import cost_table

BLOCK = {"layers": [1]}
INTERVAL = Interval(seed=1, resamples=300, confidence=0.95)
CONDITIONS = [
    Condition((1,), "behavior", -2.0),
    Condition((1,), "behavior", 1.0),
    Condition((1,), "random-0", 1.0),
    Condition((0, 2), "behavior", 0.5),
]


def make_vectors(lm):
    generator = np.random.default_rng(0)
    shape = (lm.n_layers, lm.width)
    return {
        name: generator.standard_normal(shape).astype(np.float32)
        for name in ("behavior", "random-0")
    }


def make_texts(lm, n=5):
    return text_ids(lm.tokenizer, read_neutral(ROOT / "data/neutral.jsonl")[:n], lm.context)


def texts(*written):
    """Neutral texts, one a line of a file."""
    return [Text(text, f"neutral.jsonl, line {n}") for n, text in enumerate(written, 1)]


def test_text_logprobs_equal_plain_forward_passes(lm):
    texts, vectors = make_texts(lm), make_vectors(lm)
    ours = text_logprobs(lm, texts, vectors, CONDITIONS, 700)
    for row, text in zip(ours, texts, strict=True):
        theirs = [plain.logprob(lm, text[:1], text[1:])]
        for condition in CONDITIONS:
            every = replace(condition, positions="all")
            changes = plain.steering(every, vectors, len(text), 0)
            theirs.append(plain.logprob(lm, text[:1], text[1:], changes))
        np.testing.assert_allclose(row, theirs, atol=2e-3)


def test_text_logprobs_are_the_same_to_the_bit_for_any_budget_order_and_shard(lm):
    texts, vectors = make_texts(lm), make_vectors(lm)
    large, small = (text_logprobs(lm, texts, vectors, CONDITIONS, b) for b in (8000, 1))
    np.testing.assert_array_equal(large, small)
    backwards = text_logprobs(lm, texts[::-1], vectors, CONDITIONS, 700)[::-1]
    np.testing.assert_array_equal(large, backwards)
    some = text_logprobs(lm, texts[1:3], vectors, CONDITIONS, 700)
    np.testing.assert_array_equal(large[1:3], some)


def test_perplexity_is_that_of_all_tokens_together():
    # 3 tokens of probability 1/2, and 1 of 1/16: the geometric mean over 4 tokens is 2^(7/4)
    logprob = np.log([[1 / 8, 1 / 64], [1 / 16, 1 / 16]])
    # of the 4 and 2 tokens of the texts the first is not predicted
    texts = [{"id": "a", "ids": [5, 6, 7, 8]}, {"id": "b", "ids": [5, 6]}]
    rows = text_rows(texts, [Condition((2,), "behavior", 1.0)], logprob)
    table = cost_table(rows.assign(norm=1.0), BLOCK, interval=INTERVAL)
    assert table["measure"].tolist() == ["perplexity"] * 2
    assert table["value"][0] == pytest.approx(2 ** (7 / 4))
    assert table["value"][1] == pytest.approx(2 ** (10 / 4))
    assert table["change"].tolist() == pytest.approx([1, 2 ** (3 / 4)])
    assert table["n"].tolist() == [2, 2]
    assert table[["value_low", "value_high"]].isna().all(axis=None)
    assert table["flags"].tolist() == ["no interval"] * 2


def test_accuracy_is_the_share_of_likelier_correct_answers(load_tiny):
    lm = load_tiny("llama")
    items = read_knowledge(ROOT / "data/knowledge.jsonl")[:8]
    options = {"behavior": "knowledge", "split": "test", "system": None, "seed": 1}
    options |= {"contrast": "answers", "context": lm.context}
    prompts = as_rows(serialize(lm.tokenizer, items, **options))
    vectors, pairs = make_vectors(lm), choices(prompts)
    unsteered, steered = score(lm, pairs, vectors, CONDITIONS, budget=500)
    rows = knowledge_rows(prompts, CONDITIONS, unsteered, steered)
    table = cost_table(with_norms(rows, vectors, CONDITIONS), BLOCK, interval=INTERVAL)
    theirs, moved = plain.scores(lm, pairs, vectors, CONDITIONS)
    shares = [(theirs[:, 0] > theirs[:, 1]).mean()]
    shares += [(moved[:, c, 0] > moved[:, c, 1]).mean() for c in range(len(CONDITIONS))]
    assert table["value"].tolist() == pytest.approx(shares)
    assert table["change"].tolist() == pytest.approx(list(np.array(shares) - shares[0]))
    assert set(table["n"]) == {8}


def test_the_project_s_own_data_is_well_formed():
    texts, items = (
        read_neutral(ROOT / "data/neutral.jsonl"),
        read_knowledge(ROOT / "data/knowledge.jsonl"),
    )
    assert len({text.text for text in texts}) == len(texts) == 60
    assert len({item.question for item in items}) == len(items) == 100


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_neutral, "", "the file is empty"),
        (read_neutral, "\n\n", "the file is empty"),
        (read_neutral, '{"text": " "}', "line 1: 'text' must be text and not empty"),
        (read_neutral, '{"text": "a"}\nnot', "line 2: not JSON"),
        (read_knowledge, "", "the file is empty"),
        (read_knowledge, '{"question": "q", "correct": "a"}', "line 1: 'wrong' must be text"),
        (read_knowledge, '["q"]\n{"a": 1}', "line 2: not JSON"),
        (
            read_knowledge,
            json.dumps({"question": "q", "correct": "Yes", "wrong": "yes"}),
            "both answers are the same",
        ),
    ],
)
def test_bad_files_are_named(tmp_path, read, content, message):
    path = tmp_path / "data.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read(path)


def test_a_text_of_one_token_is_refused(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    with pytest.raises(UserError, match=r"neutral\.jsonl, line 2: the text has 1 token"):
        text_ids(tokenizer, texts("A whole sentence.", "a"), None)


def test_a_text_longer_than_the_context_is_cut(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    assert [len(ids) for ids in text_ids(tokenizer, texts("word " * 50), 12)] == [12]


def test_projections_equal_plain_forward_passes(lm):
    texts = make_texts(lm, 3)
    direction = make_vectors(lm)["behavior"][2]
    unit = torch.tensor(direction / np.linalg.norm(direction))
    small, large = (project(lm, texts, 2, direction, budget) for budget in (40, 4000))
    for ours, again, text in zip(small, large, texts, strict=True):
        theirs = plain.forward(lm, text)[1][2] @ unit
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(ours, again)


def test_the_scale_puts_matching_answers_at_1_and_others_at_minus_1():
    generator = np.random.default_rng(3)
    matching, other = generator.normal(1, 1, (9, 4)), generator.normal(-1, 1, (9, 4))
    direction = matching.mean(0) - other.mean(0)
    found = scale(matching, other, direction)
    unit = direction / np.linalg.norm(direction)
    means = [(part @ unit).mean() for part in (matching, other)]
    np.testing.assert_allclose([(m - found.middle) / found.unit for m in means], [1, -1])


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_tokens_join_to_the_text_and_know_their_part(load_tiny, contrast):
    lm = load_tiny("llama")
    items = read_knowledge(ROOT / "data/knowledge.jsonl")[:1]
    options = {"behavior": "k", "split": "test", "system": None, "seed": 1, "context": None}
    (prompt,) = as_rows(serialize(lm.tokenizer, items, contrast=contrast, **options))
    texts = token_texts(lm.tokenizer, prompt["ids"] + prompt["matching_ids"])
    assert "".join(texts) == prompt["text"] + prompt["matching"]
    special = lm.tokenizer.all_special_tokens
    named = parts(texts, prompt["text"], items[0].question, len(prompt["ids"]), special)
    joined = {
        part: "".join(t for t, p in zip(texts, named, strict=True) if p == part)
        for part in ("question", "answer")
    }
    assert joined["answer"] == prompt["matching"]
    assert joined["question"].strip().startswith(items[0].question)
    if contrast == "letters":
        assert (
            joined["question"]
            .strip()
            .endswith(items[0].other if prompt["other"] == "B" else items[0].matching)
        )


def test_answers_are_projected_token_by_token_on_their_scale(load_tiny):
    lm = load_tiny("llama")
    items = read_knowledge(ROOT / "data/knowledge.jsonl")[:2]
    options = {"behavior": "k", "split": "test", "system": None, "seed": 1, "context": None}
    prompts = as_rows(serialize(lm.tokenizer, items, contrast="answers", **options))
    direction = make_vectors(lm)["behavior"][2]
    table = project_answers(lm, prompts, 2, direction, Scale(middle=3.0, unit=0.5), 300)
    unit = torch.tensor(direction / np.linalg.norm(direction))
    for prompt in prompts:
        for side in ("matching", "other"):
            ids = prompt["ids"] + prompt[f"{side}_ids"]
            mine = table[(table["prompt_id"] == prompt["id"]) & (table["answer"] == side)]
            theirs = (plain.forward(lm, ids)[1][2] @ unit - 3.0) / 0.5
            np.testing.assert_allclose(mine["projection"], theirs, rtol=1e-4, atol=2e-3)
            assert "".join(mine["text"]) == prompt["text"] + prompt[side]


def test_characters_of_several_tokens_come_with_their_last(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    ids = tokenizer("a 😀 b", add_special_tokens=False)["input_ids"]
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == "a 😀 b"
    assert "😀" in texts


def test_the_table_has_a_row_a_condition():
    wrong = np.array([0.0, 1.0])  # log p of the correct answer 0, of the wrong one 1
    prompts = [{"id": "a", "contrast": "letters"}]
    rows = knowledge_rows(prompts, CONDITIONS, wrong[None], np.tile(wrong, (1, 4, 1)))
    table = cost_table(rows.assign(norm=1.0), BLOCK, interval=INTERVAL)
    assert table["multiplier"].tolist() == [0.0, -2.0, 1.0, 1.0, 0.5]
    assert table["layers"].tolist() == ["", "1", "1", "1", "0+2"]
    assert (table["value"] == 0).all()


def test_a_control_token_in_a_neutral_text_is_refused_with_its_line(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    with pytest.raises(UserError, match=r"neutral\.jsonl, line 2: the text holds .*'<\|end\|>'"):
        text_ids(tokenizer, texts("Fine.", "Fine.<|end|>"), None)


def test_every_added_control_token_is_known(load_tiny):
    tokenizer = copy.deepcopy(load_tiny("llama").tokenizer)
    tokenizer.add_tokens([AddedToken("<file_sep>", special=True)])
    assert "<file_sep>" in control_tokens(tokenizer)
    with pytest.raises(UserError, match=r"line 1: the question holds .*'<file_sep>'"):
        render(tokenizer, "A <file_sep> b", None, source="line 1")
