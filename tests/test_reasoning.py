"""Chain of thought and system prompts: steering acts on the part that it names and no other."""

import numpy as np
import pandas as pd
import plain
import pytest
import torch
from conftest import ROOT

from steerpaper.errors import UserError
from steerpaper.steering.about import read_about
from steerpaper.steering.completions import complete
from steerpaper.steering.items import read_items
from steerpaper.steering.reasoning import (
    BRIDGES,
    INSTRUCTION,
    Chain,
    ask,
    chains,
    reasoning_plan,
    score_chains,
)
from steerpaper.steering.tables.summaries import reasoning_table, system_prompts_table
from steerpaper.steering.system_prompts import under_system_prompts

INTERVAL = {"seed": 1, "resamples": 200, "confidence": 0.95}
ITEMS = read_items(ROOT / "data/behaviors/impatience.jsonl")[:4]
LETTERS = ["A", "B", "B", "A"]


def make_questions(lm, contrast, n=3):
    return ask(
        lm.tokenizer,
        ITEMS[:n],
        LETTERS[:n],
        behavior="impatience",
        contrast=contrast,
        system=None,
        room=8,
        context=lm.context,
    )


def make_vector(lm):
    generator = np.random.default_rng(0)
    return generator.standard_normal((lm.n_layers, lm.width)).astype(np.float32)


def make_chains(lm, questions, vector, layers=(1,), multipliers=(-1.0, 1.5), samples=2):
    plan = reasoning_plan(
        questions, layers=layers, multipliers=multipliers, samples=samples, seed=5, behavior="x"
    )
    reasonings = complete(
        lm,
        [request for _, _, request in plan],
        vector,
        positions="response",
        max_new_tokens=6,
        temperature=1.0,
        top_p=1.0,
        budget=400,
    )
    return chains(plan, reasonings, multipliers)


def plain_score(lm, question, chain, vector, layers):
    """One full forward pass an answer, pushes written out token by token."""
    found = []
    for answer in (question.matching, question.other):
        before = [*question.prompt, *chain.reasoning, *question.bridge]
        weights = torch.zeros(len(before) + len(answer), 1)
        bridge = len(question.prompt) + len(chain.reasoning)
        weights[len(question.prompt) - 1 : bridge] = chain.during_reasoning
        weights[bridge:] = chain.during_answer
        pushes = {layer: weights * torch.tensor(vector[layer]) for layer in layers}
        found.append(plain.logprob(lm, before, answer, pushes))
    return found


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_scores_after_reasoning_equal_plain_forward_passes(lm, contrast):
    questions, vector = make_questions(lm, contrast), make_vector(lm)
    wanted = [chain for _, chain in make_chains(lm, questions, vector)]
    assert len(wanted) == 3 * (3 + 2 * (1 + 2 + 2 * 2))
    ours = score_chains(lm, questions, wanted, vector, (1,), 500)
    theirs = [plain_score(lm, questions[c.question], c, vector, (1,)) for c in wanted]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_several_blocks_are_steered_together(load_tiny):
    lm = load_tiny("llama")
    questions, vector = make_questions(lm, "answers", 2), make_vector(lm)
    wanted = [Chain(0, (7, 8, 9), 1.0, -0.5), Chain(1, (), 0.0, 1.0)]
    ours = score_chains(lm, questions, wanted, vector, (0, 2), 500)
    theirs = [plain_score(lm, questions[c.question], c, vector, (0, 2)) for c in wanted]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_scores_after_reasoning_do_not_depend_on_the_batch(lm):
    questions, vector = make_questions(lm, "answers"), make_vector(lm)
    wanted = [chain for _, chain in make_chains(lm, questions, vector)]
    large, small = (
        score_chains(lm, questions, wanted, vector, (2,), budget) for budget in (8000, 60)
    )
    backwards = score_chains(lm, questions, wanted[::-1], vector, (2,), 300)[::-1]
    np.testing.assert_allclose(large, small, atol=2e-4)
    np.testing.assert_allclose(large, backwards, atol=2e-4)


def test_both_parts_steered_is_what_response_steers(load_tiny):
    lm = load_tiny("llama")
    questions, vector = make_questions(lm, "answers"), make_vector(lm)
    wanted = [Chain(0, (5, 6, 7), 1.5, 1.5)]
    ours = score_chains(lm, questions, wanted, vector, (1,), 500)[0, 0]
    question = questions[0]
    text = [*question.prompt, 5, 6, 7, *question.bridge]
    length = len(text) + len(question.matching)
    pushes = plain.push(length, len(question.prompt) - 1, "response", (1,), vector, 1.5)
    assert ours == pytest.approx(plain.logprob(lm, text, question.matching, pushes), abs=1e-3)


def test_unsteered_parts_follow_the_unsteered_reasoning(load_tiny):
    lm = load_tiny("llama")
    questions, vector = make_questions(lm, "answers"), make_vector(lm)
    made = make_chains(lm, questions, vector)
    by_part = {}
    for row, chain in made:
        key = (chain.question, row["sample"], row["reasoning"], row["steered"], row["multiplier"])
        by_part[key] = chain
    for question in range(3):
        for sample in range(2):
            none = by_part[question, sample, "sampled", "none", 0.0]
            for m in (-1.0, 1.5):
                answer = by_part[question, sample, "sampled", "answer", m]
                during = by_part[question, sample, "sampled", "reasoning", m]
                both = by_part[question, sample, "sampled", "both", m]
                assert answer.reasoning == none.reasoning
                assert during.reasoning == both.reasoning
                assert (answer.during_reasoning, answer.during_answer) == (0, m)
                assert (during.during_reasoning, during.during_answer) == (m, 0)
                assert (both.during_reasoning, both.during_answer) == (m, m)


def test_a_reasoning_depends_on_its_name_alone(load_tiny):
    lm = load_tiny("llama")
    questions, vector = make_questions(lm, "answers"), make_vector(lm)
    few = make_chains(lm, questions[:1], vector, multipliers=(1.5,), samples=1)
    many = make_chains(lm, questions, vector, multipliers=(-1.0, 1.5), samples=3)
    known = {
        (c.question, r["sample"], r["steered"], r["multiplier"], r["reasoning"]): c for r, c in many
    }
    for row, chain in few:
        key = (
            *(chain.question, row["sample"], row["steered"]),
            *(row["multiplier"], row["reasoning"]),
        )
        assert known[key] == chain


def test_questions_ask_for_reasoning_and_show_choices(load_tiny):
    lm = load_tiny("llama")
    for contrast in ("answers", "letters"):
        question = make_questions(lm, contrast)[1]
        text = lm.tokenizer.decode(question.prompt)
        assert INSTRUCTION in text
        assert lm.tokenizer.decode(question.bridge) == BRIDGES[contrast]
        if contrast == "letters":
            assert f"(B) {ITEMS[1].matching}" in text
            assert lm.tokenizer.decode(question.matching) == "B"
        else:
            assert ITEMS[1].matching not in text
            assert lm.tokenizer.decode(question.matching) == ITEMS[1].matching


def test_reasoning_longer_than_the_context_is_refused(load_tiny):
    lm = load_tiny("llama")
    options = {"behavior": "x", "contrast": "answers", "system": None, "context": lm.context}
    with pytest.raises(UserError, match=r"lower steering\.reasoning\.max_new_tokens"):
        ask(lm.tokenizer, ITEMS, LETTERS, room=400, **options)


def test_change_after_reasoning_is_from_the_prompts_own_unsteered_chains():
    rows = []
    for prompt, level in (("a", 1.0), ("b", 5.0)):
        for sample, noise in enumerate((-0.5, 0.5)):
            common = {"prompt_id": prompt, "layers": "3", "reasoning": "sampled", "sample": sample}
            rows.append(
                {**common, "layer": -1, "steered": "none", "multiplier": 0.0}
                | {"logit_diff": level + noise}
            )
            rows.append(
                {**common, "layer": 3, "steered": "both", "multiplier": 1.0}
                | {"logit_diff": level + 2}
            )
    table = reasoning_table(pd.DataFrame(rows), **INTERVAL).set_index("steered")
    assert table.loc["both", "change"] == pytest.approx(2)
    # each prompt changed by 2: nothing left to vary once prompts are drawn whole
    assert table.loc["both", "change_low"] == pytest.approx(2)
    assert table.loc["both", ["n", "prompts"]].tolist() == [4, 2]
    assert table.loc["none", "change"] == pytest.approx(0)


def under(lm, texts):
    return under_system_prompts(
        lm.tokenizer,
        ITEMS,
        texts,
        behavior="impatience",
        contrast="answers",
        seed=1,
        context=lm.context,
    )


def test_system_prompts_precede_the_same_items(load_tiny):
    lm = load_tiny("llama")
    texts = read_about(ROOT / "data/behaviors/impatience.yaml").system_prompts
    found, missing = under(lm, texts)
    assert not missing
    for name in ("for", "against"):
        assert all(texts[name].strip() in prompt.text for prompt in found[name])
        assert [p.id for p in found[name]] == [p.id for p in found["none"]]
    assert not any(texts["for"].strip() in prompt.text for prompt in found["none"])


def test_a_template_without_system_prompt_leaves_them_out_with_the_reason(load_tiny, monkeypatch):
    lm = load_tiny("llama")
    refuses = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    ignores = "{% for m in messages if m.role != 'system' %}{{ m.content }}\n{% endfor %}"
    for template in (refuses + ignores, ignores):
        monkeypatch.setattr(lm.tokenizer, "chat_template", template)
        found, missing = under(lm, {"for": "Be quick.", "against": "Be slow."})
        assert set(found) == {"none"}
        assert set(missing) == {"for", "against"}
        assert all("template" in reason for reason in missing.values())


def test_a_behaviour_without_system_prompts_is_said_to_have_none(load_tiny):
    found, missing = under(load_tiny("llama"), {})
    assert set(found) == {"none"}
    assert "no system_prompts.for" in missing["for"]


def test_every_behaviour_has_system_prompts_that_differ():
    for path in sorted((ROOT / "data/behaviors").glob("*.yaml")):
        texts = read_about(path).system_prompts
        assert set(texts) == {"for", "against"}
        assert texts["for"] != texts["against"]


@pytest.mark.parametrize(
    "content", ["system_prompts: {with: x}", "system_prompts: text", "system_prompts: {for: 3}"]
)
def test_malformed_system_prompts_are_named(tmp_path, content):
    path = tmp_path / "about.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"about\.yaml: system_prompts: expected the keys for and"):
        read_about(path)


def test_a_missing_system_prompt_is_a_row_with_n_0():
    scores = pd.DataFrame(
        [
            *(
                {"prompt_id": p, "system_prompt": "none", "layer": layer, "layers": str(layer)}
                | {"multiplier": m, "logit_diff": float(m), "note": None}
                for p in "abc"
                for layer, m in ((-1, 0.0), (3, 1.0))
            ),
            {"prompt_id": None, "system_prompt": "for", "layer": -1, "layers": ""}
            | {"multiplier": 0.0, "logit_diff": np.nan, "note": "the template takes none"},
        ]
    )
    table = system_prompts_table(scores, **INTERVAL)
    row = table[table["system_prompt"] == "for"].iloc[0]
    assert row["n"] == 0
    assert np.isnan(row["logit_diff"])
    assert row["note"] == "the template takes none"
    steered = table[(table["system_prompt"] == "none") & (table["multiplier"] == 1)].iloc[0]
    assert (steered["n"], steered["change"], steered["slope"]) == (3, 1, 1)
