"""Chain of thought and system prompts: steering acts on the part that it names and no other."""

from functools import partial

import numpy as np
import pandas as pd
import plain
import pytest
import torch
from conftest import ROOT

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, complete
from steerpaper.errors import UserError
from steerpaper.stats import Interval
from steerpaper.steering.about import read_about
from steerpaper.steering.conditions import BEHAVIOR, not_run
from steerpaper.steering.items import read_items
from steerpaper.steering.prompts import (
    BRIDGES,
    INSTRUCTION,
    reasoning_prompts,
    serialize,
    under_system_prompts,
)
from steerpaper.steering.reasoning import (
    Chain,
    chain_table,
    chains,
    questions_of,
    reasoning_plan,
    score_chains,
)
from steerpaper.steering.tables.reasoning import reasoning_table
from steerpaper.steering.tables.system_prompts import propensity_table, system_prompts_table

INTERVAL = {"interval": Interval(1, 200, 0.95), "measures": ["logit_diff"]}
ITEMS = read_items(ROOT / "data/behaviors/impatience.jsonl")[:4]


def make_rows(lm, contrast, n=3):
    options = {"behavior": "impatience", "split": "test", "system": None, "seed": 1}
    prompts = serialize(lm.tokenizer, ITEMS[:n], contrast=contrast, context=lm.context, **options)
    return reasoning_prompts(lm.tokenizer, prompts, system=None)


def make_questions(lm, contrast, n=3):
    return questions_of(make_rows(lm, contrast, n), room=8, context=lm.context)


def make_vector(lm):
    generator = np.random.default_rng(0)
    return generator.standard_normal((lm.n_layers, lm.width)).astype(np.float32)


def make_chains(lm, questions, vector, layers=(1,), multipliers=(-1.0, 1.5), samples=2):
    plan = reasoning_plan(
        questions, layers=layers, multipliers=multipliers, samples=samples, seed=5, behavior="x"
    )
    requests = [request for _, _, request in plan]
    reasonings = complete(lm, requests, {BEHAVIOR: vector}, Decoding(6, 1.0, 1.0, 400))
    return chains(plan, reasonings, multipliers)


def plain_score(lm, question, chain, vector, layers):
    """One full forward pass an answer, what is added written out token by token."""
    found = []
    for answer in (question.matching, question.other):
        before = [*question.prompt, *chain.reasoning, *question.bridge]
        weights = torch.zeros(len(before) + len(answer), 1)
        bridge = len(question.prompt) + len(chain.reasoning)
        weights[len(question.prompt) - 1 : bridge] = chain.during_reasoning
        weights[bridge:] = chain.during_answer
        changes = {
            layer: partial(torch.add, weights * torch.tensor(vector[layer])) for layer in layers
        }
        found.append(plain.logprob(lm, before, answer, changes))
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


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_scores_after_reasoning_are_the_same_to_the_bit_for_any_budget_and_order(lm, contrast):
    questions, vector = make_questions(lm, contrast), make_vector(lm)
    wanted = [chain for _, chain in make_chains(lm, questions, vector)]
    large, small, least = (
        score_chains(lm, questions, wanted, vector, (2,), budget) for budget in (8000, 60, 1)
    )
    backwards = score_chains(lm, questions, wanted[::-1], vector, (2,), 300)[::-1]
    np.testing.assert_array_equal(large, small)
    np.testing.assert_array_equal(large, least)
    np.testing.assert_array_equal(large, backwards)
    # some of the chains alone, as where fewer multipliers or samples are asked for
    some = score_chains(lm, questions, wanted[::3], vector, (2,), 300)
    np.testing.assert_array_equal(large[::3], some)


def test_both_parts_steered_is_what_response_steers(load_tiny):
    lm = load_tiny("llama")
    questions, vector = make_questions(lm, "answers"), make_vector(lm)
    wanted = [Chain(0, (5, 6, 7), 1.5, 1.5)]
    ours = score_chains(lm, questions, wanted, vector, (1,), 500)[0, 0]
    question = questions[0]
    text = [*question.prompt, 5, 6, 7, *question.bridge]
    length = len(text) + len(question.matching)
    condition = Condition((1,), BEHAVIOR, 1.5, positions="response")
    changes = plain.steering(condition, {BEHAVIOR: vector}, length, len(question.prompt) - 1)
    assert ours == pytest.approx(plain.logprob(lm, text, question.matching, changes), abs=1e-3)


def test_a_chains_row_says_what_was_steered_and_scored(load_tiny):
    lm = load_tiny("llama")
    rows, vector = make_rows(lm, "answers"), make_vector(lm)
    made = make_chains(lm, make_questions(lm, "answers"), vector, layers=(1, 2))
    scores = np.arange(2.0 * len(made)).reshape(-1, 2)
    table = chain_table(lm.tokenizer, rows, made, scores, (1, 2), 5)
    steered = table["steered"] != "none"
    assert table.loc[steered, ["layer", "layers"]].drop_duplicates().to_numpy().tolist() == [
        [1, "1+2"]
    ]
    assert table.loc[~steered, ["layer", "layers"]].drop_duplicates().to_numpy().tolist() == [
        [-1, ""]
    ]
    for (row, chain), found in zip(made, table.to_dict("records"), strict=True):
        assert found["prompt_id"] == rows[chain.question]["id"]
        assert found["n_matching"] == len(rows[chain.question]["matching_ids"])
        assert found["text"] == lm.tokenizer.decode(chain.reasoning, skip_special_tokens=True)
        assert found.items() >= row.items()
    assert (table["logit_diff"] == -1).all()


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
        (row, _, _), (question, _, _) = make_rows(lm, contrast), make_questions(lm, contrast)
        text = lm.tokenizer.decode(question.prompt)
        assert text == row["text"]
        assert INSTRUCTION in text
        assert lm.tokenizer.decode(question.bridge) == BRIDGES[contrast]
        if contrast == "letters":
            letter = lm.tokenizer.decode(question.matching)
            assert f"({letter}) {ITEMS[0].matching}" in text
            assert {letter, lm.tokenizer.decode(question.other)} == {"A", "B"}
        else:
            assert ITEMS[0].matching not in text
            assert lm.tokenizer.decode(question.matching) == ITEMS[0].matching
            assert lm.tokenizer.decode(question.other) == ITEMS[0].other


def test_the_letters_of_reasoning_prompts_are_those_of_the_prompts(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    options = {"behavior": "impatience", "split": "test", "system": None, "seed": 1}
    prompts = serialize(tokenizer, ITEMS, contrast="letters", context=None, **options)
    for prompt, row in zip(
        prompts, reasoning_prompts(tokenizer, prompts, system=None), strict=True
    ):
        assert (row["id"], row["split"], row["contrast"]) == (prompt.id, "test", "letters")
        for side in ("matching", "other"):
            letter = getattr(prompt, side)
            assert tokenizer.decode(row[f"{side}_ids"]) == letter
            assert f"({letter}) {prompt.answers[side]}" in row["text"]


def test_reasoning_longer_than_the_context_is_refused(load_tiny):
    lm = load_tiny("llama")
    rows = make_rows(lm, "answers")
    with pytest.raises(UserError, match=r"lower steering\.reasoning\.max_new_tokens"):
        questions_of(rows, room=400, context=lm.context)
    assert len(questions_of(rows, room=400, context=None)) == 3


def test_change_after_reasoning_is_from_the_prompts_own_unsteered_chains():
    rows = []
    for prompt, level in (("a", 1.0), ("b", 5.0), ("c", 2.0), ("d", 0.0), ("e", 9.0)):
        for sample, noise in enumerate((-0.5, 0.5)):
            common = {"prompt_id": prompt, "layers": "3", "reasoning": "sampled", "sample": sample}
            rows.append(
                {**common, "layer": -1, "steered": "none", "multiplier": 0.0}
                | {"logprob_matching": level + noise, "logprob_other": 0.0}
            )
            rows.append(
                {**common, "layer": 3, "steered": "both", "multiplier": 1.0}
                | {"logprob_matching": level + 2, "logprob_other": 0.0}
            )
    chains = pd.DataFrame(rows).assign(norm=1.0, matching=None, ab_mass=np.nan)
    table = reasoning_table(chains, {}, **INTERVAL).set_index("steered")
    assert table.loc["both", "change"] == pytest.approx(2)
    # each prompt changed by 2: nothing left to vary between prompts
    assert table.loc["both", "change_low"] == pytest.approx(2)
    assert table.loc["both", ["n", "prompts"]].tolist() == [10, 5]
    assert table.loc["none", "change"] == pytest.approx(0)


def under(lm, texts):
    """Prompts by system prompt, and the reasons of those that could not be had."""
    options = {"behavior": "impatience", "contrast": "answers", "seed": 1}
    rows = under_system_prompts(lm.tokenizer, ITEMS, texts, context=lm.context, **options)
    found, missing = {}, {}
    for row in rows:
        if "note" in row:
            missing[row["system_prompt"]] = row["note"]
        else:
            found.setdefault(row["system_prompt"], []).append(row)
    return found, missing


def test_system_prompts_precede_the_same_items(load_tiny):
    lm = load_tiny("llama")
    texts = read_about(ROOT / "data/behaviors/impatience.yaml").system_prompts
    found, missing = under(lm, texts)
    assert not missing
    for name in ("for", "against"):
        assert all(texts[name].strip() in prompt["text"] for prompt in found[name])
        assert [p["id"] for p in found[name]] == [p["id"] for p in found["none"]]
    assert not any(texts["for"].strip() in prompt["text"] for prompt in found["none"])
    assert [prompt["question"] for prompt in found["none"]] == [item.question for item in ITEMS]


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
    for items in sorted((ROOT / "data/behaviors").glob("*.jsonl")):
        texts = read_about(items.with_suffix(".yaml")).system_prompts
        assert set(texts) == {"for", "against"}
        assert texts["for"] != texts["against"]


@pytest.mark.parametrize(
    "content", ["system_prompts: {with: x}", "system_prompts: text", "system_prompts: {for: 3}"]
)
def test_malformed_system_prompts_are_named(tmp_path, content):
    path = tmp_path / "about.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"about\.yaml: system_prompts.*; expected"):
        read_about(path)


def test_a_missing_system_prompt_is_a_row_with_n_0():
    scores = pd.DataFrame(
        [
            *(
                {"prompt_id": p, "system_prompt": "none", "layer": layer, "layers": str(layer)}
                | {"multiplier": m, "logprob_matching": float(m), "logprob_other": 0.0}
                | {"note": None}
                for p in "abc"
                for layer, m in ((-1, 0.0), (3, 1.0))
            ),
        ]
    )
    none = not_run("b").assign(system_prompt="for", note="the template takes none")
    scores = pd.concat([scores, none], ignore_index=True)
    scores = scores.assign(norm=1.0, matching=None, ab_mass=np.nan)
    table = system_prompts_table(scores, {}, **INTERVAL)
    row = table[table["system_prompt"] == "for"].iloc[0]
    assert row["n"] == 0
    assert np.isnan(row["logit_diff"])
    assert row["note"] == "the template takes none"
    steered = table[(table["system_prompt"] == "none") & (table["multiplier"] == 1)].iloc[0]
    assert (steered["n"], steered["change"], steered["slope"]) == (3, 1, 1)


BLOCKS = {"layers": [1, 2]}


def shares_of_items():
    """Scores of six items without and with a system prompt; another cannot be had."""
    generator = np.random.default_rng(0)
    rows = [
        {"prompt_id": prompt, "system_prompt": system, "layer": 3 if m else -1, "multiplier": m}
        | {"logprob_matching": generator.normal(scale=4), "logprob_other": generator.normal()}
        for system in ("none", "for")
        for prompt in range(6)
        for m in (-1.0, 0.0, 1.0)
    ]
    scores = pd.DataFrame(rows).assign(layers="3", norm=1.0, matching=None, ab_mass=np.nan)
    absent = not_run("b").assign(system_prompt="against", note="the template takes none")
    return pd.concat([scores, absent], ignore_index=True)


def propensity(scores, system=None, block=BLOCKS):
    """The table of propensity of six items, in the gradients in another order."""
    prompts, gradients, vector = gradients_of(6)
    return propensity_table(
        scores,
        block,
        {"test": gradients},
        {BEHAVIOR: vector},
        iter(prompts),
        interval=INTERVAL["interval"],
        system=system,
    )


def gradients_of(n, width=400):
    """Prompts, their gradients at four blocks, and a vector of these."""
    generator = np.random.default_rng(3)
    prompts = [{"id": number} for number in reversed(range(n))]
    return prompts, generator.normal(size=(n, 4, width)), generator.normal(size=(4, width))


@pytest.mark.parametrize("layers", [[2], [1, 3]])
def test_the_propensitys_band_is_where_random_directions_would_move_it(layers):
    """Drawn out: many directions' effects by the gradient of p itself, each block its own."""
    prompts, gradients, vector = gradients_of(6)
    generator = np.random.default_rng(5)
    differences = generator.normal(scale=2, size=6)
    rows = [
        {"prompt_id": number, "system_prompt": "none", "layer": 2 if m else -1, "multiplier": m}
        | {"logprob_matching": differences[number] - 9, "logprob_other": -9.0, "note": None}
        for number in range(6)
        for m in (-0.02, 0.0, 0.01)
    ]
    scores = pd.DataFrame(rows).assign(layers="", norm=1.0, matching=None, ab_mass=np.nan)
    table = propensity(scores, block={"layers": layers}).set_index("multiplier")
    place = [prompt["id"] for prompt in prompts]
    p = 1 / (1 + np.exp(-differences[place]))
    moved = np.zeros(20_000)
    for layer in layers:
        random = generator.normal(size=(len(moved), vector.shape[1]))
        random *= np.linalg.norm(vector[layer]) / np.linalg.norm(random, axis=1)[:, None]
        moved += (random @ (gradients[:, layer].T * p * (1 - p))).mean(axis=1)
    for m in (-0.02, 0.01):
        ends = np.quantile(p.mean() + m * moved, [0.025, 0.975])
        found = table.loc[m, ["control_low", "control_high"]].to_numpy(dtype=float)
        np.testing.assert_allclose(found - p.mean(), ends - p.mean(), rtol=0.03)
    # unsteered it is the number itself
    assert table.loc[0.0, "control_low"] == table.loc[0.0, "control_high"] == table["p_matching"][0]


def test_a_study_with_a_system_prompt_of_its_own_has_no_band_without_one():
    scores = shares_of_items()
    assert propensity(scores, system="Be brief.")[["control_low", "control_high"]].isna().all(None)
    # and where there is one it is of the runs without a system prompt, and stays a share
    table = propensity(scores)
    own = table["system_prompt"] == "none"
    assert table.loc[own, "control_low"].between(0, 1).all()
    assert table.loc[own, "control_high"].between(0, 1).all()
    assert table.loc[~own, ["control_low", "control_high"]].isna().all(None)
    assert table.columns[-1] == "flags"


def test_the_propensity_is_the_mean_of_both_answers_shares_and_stays_between_0_and_1():
    scores = shares_of_items()
    table = propensity(scores)
    both = np.exp(scores["logprob_matching"]) + np.exp(scores["logprob_other"])
    plain = (np.exp(scores["logprob_matching"]) / both).groupby(
        [scores["system_prompt"], scores["multiplier"]]
    )
    told = table.set_index(["system_prompt", "multiplier"])["p_matching"]
    assert np.allclose(told, plain.mean()[told.index], equal_nan=True)
    known = table[table["n"] > 0]
    assert set(known["n"]) == {6}
    assert (known["p_matching_low"] >= 0).all()
    assert (known["p_matching_high"] <= 1).all()
    assert (known["p_matching_high"] == 1).any()
    assert table[table["system_prompt"] == "against"]["n"].tolist() == [0]
