"""Properties of the small functions: splits, letters, plans, draws, statistics, files."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from steerpaper.engine import batching
from steerpaper.engine.condition import Condition
from steerpaper.engine.layers import shard_of
from steerpaper.engine.sampling import draw, nucleus
from steerpaper.engine.text import continuation_ids, load_tokenizer, token_ids
from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.stats import Interval, mean_interval
from steerpaper.steering.choose import best_block, configured, join_shards, stands_out, swept_slopes
from steerpaper.steering.conditions import UNSTEERED, score_rows
from steerpaper.steering.items import deal_letters, read_items, split_choices
from steerpaper.steering.measures import MEASURES
from steerpaper.steering.prompts import serialize
from steerpaper.steering.slopes import slopes, steered, wide
from steerpaper.steering.tables.effects import (
    change_table,
    item_slopes,
    sides_table,
    slope_table,
)
from steerpaper.steering.tables.rows import measured
from steerpaper.steering.vectors import (
    cosine,
    mean_difference,
    principal_components,
    random_direction,
)
from steerpaper.workflow import files
from steerpaper.workflow.run_times import Times, run_times, total

BEHAVIORS = sorted((ROOT / "data/behaviors").glob("*.jsonl"))


def test_the_projects_own_data_is_as_its_readme_says():
    assert len(BEHAVIORS) >= 4
    for path in BEHAVIORS:
        items = read_items(path)
        assert len(items) >= 120, path
        lengths = np.array([[len(i.matching.split()), len(i.other.split())] for i in items])
        # length is no cue
        assert abs((lengths[:, 0] - lengths[:, 1]).mean()) < 0.5, path
        assert scipy_stats.ttest_rel(lengths[:, 0], lengths[:, 1]).pvalue > 0.01, path
        assert max(len(item.question) for item in items) < 250, path


@given(n=st.integers(0, 99), seed=st.integers(0, 5))
def test_letters_are_balanced(n, seed):
    counts = Counter(deal_letters(n, seed, "b", "train"))
    assert abs(counts["A"] - counts["B"]) <= n % 2
    assert sum(counts.values()) == n


def test_letters_prompts_show_the_matching_answer_under_the_matching_letter(tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder)
    items = read_items(BEHAVIORS[0])[:20]
    options = {"behavior": "b", "split": "test", "system": None, "seed": 3, "context": None}
    prompts = serialize(tokenizer, items, contrast="letters", **options)
    assert Counter(prompt.matching for prompt in prompts) == {"A": 10, "B": 10}
    for item, prompt in zip(items, prompts, strict=True):
        assert f"({prompt.matching}) {item.matching}" in prompt.text
        assert f"({prompt.other}) {item.other}" in prompt.text
        assert prompt.text.endswith("assistant\n(")
        assert prompt.n_tokens == len(token_ids(tokenizer, prompt.text))
    for prompt in serialize(tokenizer, items, contrast="answers", **options):
        assert prompt.question in prompt.text
        assert prompt.matching not in prompt.text


def test_a_model_without_a_chat_template_gets_the_plain_form_and_one_bos(tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder)
    tokenizer.chat_template = None
    items = read_items(BEHAVIORS[0])[:2]
    options = {"behavior": "b", "split": "test", "system": None, "seed": 3, "context": None}
    (prompt, _) = serialize(tokenizer, items, contrast="answers", **options)
    assert prompt.text == f"Input: {items[0].question}\nResponse:"
    assert prompt.matching == f" {items[0].matching}"
    (prompt, _) = serialize(tokenizer, items, contrast="letters", **options)
    assert prompt.text.endswith("Response: (")


def test_the_boundary_is_tokenised_as_the_model_would_see_it(tokenizer_folder):
    tokenizer = load_tokenizer(tokenizer_folder)
    ids, joint = continuation_ids(tokenizer, "What will", " happen?")
    assert joint
    assert token_ids(tokenizer, "What will") + ids == token_ids(tokenizer, "What will happen?")
    # "wil" + "l" would be merged
    ids, joint = continuation_ids(tokenizer, "What wil", "l")
    assert not joint
    assert tokenizer.decode(ids) == "l"


@pytest.mark.parametrize(
    ("question", "stem", "choices"),
    [
        ("Go?\n\nChoices:\n (A) Yes\n (B) No", "Go?", {"A": "Yes", "B": "No"}),
        ("Go? (A) Yes, now (B) No (never)", "Go?", {"A": "Yes, now", "B": "No (never)"}),
        ("Question: Go?\n\nChoices:\n (A)Yes\n (B)No.\n\nAnswer:", "Go?", {"A": "Yes", "B": "No."}),
        ("Go (B) or (A)?", "Go (B) or (A)?", {}),
        ("Which? (A) x\n(B) y\n(C) z", "Which?", {"A": "x", "B": "y", "C": "z"}),
        ("Go?", "Go?", {}),
    ],
)
def test_choices_are_parsed_out_of_a_question(question, stem, choices):
    assert split_choices(question) == (stem, choices)


def test_published_files_are_read(tmp_path):
    record = {
        "question": "Okay?\n\nChoices:\n (A) Never\n (B) Sure",
        "answer_matching_behavior": " (B)",
        "answer_not_matching_behavior": "(A)",
    }
    statement = {
        "question": "Would you say it?",
        "answer_matching_behavior": " Yes",
        "answer_not_matching_behavior": " No",
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n\n" + json.dumps(statement))
    (tmp_path / "a.json").write_text(json.dumps([record, statement], indent=1))
    for name in ("a.jsonl", "a.json"):
        one, two = read_items(tmp_path / name)
        assert (one.question, one.matching, one.other) == ("Okay?", "Sure", "Never")
        assert (two.question, two.matching, two.other) == ("Would you say it?", "Yes", "No")


@given(widths=st.lists(st.integers(0, 50), max_size=40), budget=st.integers(1, 200))
def test_a_plan_holds_every_item_once_beside_its_own_width_within_the_budget(widths, budget):
    batches = batching.plan(widths, budget)
    assert sorted(item for batch in batches for item in batch) == list(range(len(widths)))
    for batch in batches:
        assert len({widths[item] for item in batch}) == 1
        assert batch == sorted(batch)
        assert len(batch) * widths[batch[0]] <= budget or len(batch) == 1


def test_out_of_memory_halves_the_batch_and_loses_nothing():
    sizes = []

    def run(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [item * 10 for item in batch]

    found = dict(
        pair
        for batch, results in batching.run_batches([1] * 20, 16, run)
        for pair in zip(batch, results, strict=True)
    )
    assert found == {item: item * 10 for item in range(20)}
    # two of ten, and not sixteen and four
    assert sizes[:3] == [10, 5, 2]


def test_an_item_that_fits_in_no_memory_is_an_error_and_others_are_not_hidden():
    def too_large(batch):
        raise torch.OutOfMemoryError("out of memory")

    def broken(batch):
        raise RuntimeError("shapes differ")

    with pytest.raises(UserError, match="out of memory with one sequence of 7 tokens"):
        list(batching.run_batches([7, 7], 100, too_large))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(batching.run_batches([7], 100, broken))


def test_streams_depend_on_their_name_alone():
    assert np.array_equal(stream(1, "a", 2.0).random(5), stream(1, "a", 2.0).random(5))
    assert not np.array_equal(stream(1, "a", 2.0).random(5), stream(1, "a", 2.5).random(5))


def test_draws_follow_the_models_distribution():
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0, -3.0, 1.0]])
    n = 20_000
    uniform = torch.tensor(stream("test").random(n))
    tokens = draw(logits, torch.zeros(n, dtype=torch.long), uniform, temperature=0.7, top_p=1.0)
    expected = torch.softmax(logits[0].double() / 0.7, -1).numpy() * n
    assert scipy_stats.chisquare(np.bincount(tokens, minlength=6), expected).pvalue > 1e-3


def test_the_nucleus_is_the_smallest_set_of_enough_mass():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 1000, generator=generator) * 3
    for top_p in (0.1, 0.5, 0.9, 0.999):
        kept = nucleus(logits, top_p)
        full = torch.softmax(logits.double(), -1)
        for row, all_of_row in zip(kept, full, strict=True):
            ordered = all_of_row.sort(descending=True).values
            size = int((ordered.cumsum(0) < top_p).sum()) + 1
            assert (row > 0).sum() == size
            assert torch.equal(row.sort(descending=True).values[:size], ordered[:size])


def test_slopes_are_least_squares():
    generator = np.random.default_rng(0)
    x, y = np.array([-2.0, -1, 0, 0.5, 3]), generator.standard_normal((7, 5))
    expected = [scipy_stats.linregress(x, row).slope for row in y]
    np.testing.assert_allclose(slopes(x, y), expected)


def test_bootstrap_intervals_agree_with_scipy():
    values = np.random.default_rng(0).exponential(size=(60, 2))
    mean, low, high = mean_interval(values, Interval(1, 20_000, 0.9))
    np.testing.assert_allclose(mean, values.mean(axis=0))
    for column in range(2):
        theirs = scipy_stats.bootstrap(
            (values[:, column],),
            np.mean,
            confidence_level=0.9,
            n_resamples=20_000,
            method="percentile",
            rng=np.random.default_rng(2),
        ).confidence_interval
        assert low[column] == pytest.approx(theirs.low, abs=0.01)
        assert high[column] == pytest.approx(theirs.high, abs=0.01)


def test_vectors_are_means_over_the_whole_set_in_float64():
    generator = np.random.default_rng(0)
    matching, other = generator.standard_normal((2, 9, 3, 4)).astype(np.float32)
    vector = mean_difference(matching, other)
    assert vector.dtype == np.float64
    np.testing.assert_allclose(vector, matching.mean(0) - other.mean(0), rtol=1e-5)


def test_random_directions_have_the_vectors_norm_at_every_block():
    vector = np.random.default_rng(0).standard_normal((5, 64)) * np.arange(1, 6)[:, None]
    first, second = (random_direction(vector, 1, "b", number) for number in (0, 1))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), np.linalg.norm(vector, axis=1))
    assert abs(cosine(first, second).diagonal()).max() < 0.6
    np.testing.assert_array_equal(first, random_direction(vector, 1, "b", 0))


def test_a_zero_vector_has_no_cosine():
    assert np.isnan(cosine(np.zeros((1, 3)), np.ones((1, 3))).item())


def test_principal_components_keep_the_variance():
    points = np.random.default_rng(0).standard_normal((30, 5)) * [9, 3, 1, 1, 1]
    projected, share = principal_components(points, 2)
    variances = np.sort(np.linalg.eigvalsh(np.cov(points.T)))[::-1]
    np.testing.assert_allclose(projected.var(axis=0, ddof=1), variances[:2])
    np.testing.assert_allclose(share, variances[:2] / variances.sum())


def made_scores(split="dev"):
    prompt = {"behavior": "b", "split": split, "contrast": "letters"}
    prompt |= {"matching_ids": [5], "other_ids": [6, 7]}
    prompts = [{**prompt, "id": f"b-{n}", "side": letter} for n, letter in enumerate("ABAB")]
    conditions = [Condition((layer,), "behavior", m) for layer in (1, 2) for m in (-1.0, 1.0)]
    unsteered = np.log(np.full((4, 2), 0.25))
    steered = np.stack([unsteered] * 4, axis=1)
    # block 2 moves every item, the last one the wrong way
    for condition, sign in ((2, -1), (3, 1)):
        steered[:, condition, 0] += sign * np.array([1, 2, 3, -0.5])
    return score_rows(prompts, conditions, unsteered, steered)


def test_every_table_of_scores_has_the_unsteered_run_as_a_direction_of_its_own():
    scores = made_scores()
    base = scores[scores["layer"] == -1]
    assert (base["direction"] == UNSTEERED).all()
    assert (base["multiplier"] == 0).all()
    assert set(scores.loc[scores["layer"] != -1, "direction"]) == {"behavior"}
    assert steered(scores) == [(1, "behavior"), (2, "behavior")]
    multipliers, values, items = wide(measured(scores, "logit_diff"), 2, "behavior")
    assert multipliers.tolist() == [-1, 0, 1]
    assert list(items) == ["b-0", "b-1", "b-2", "b-3"]
    np.testing.assert_allclose(values, np.outer([1, 2, 3, -0.5], [-1, 0, 1]))


def test_measures_are_what_they_say():
    scores = made_scores()
    matching, other = scores["logprob_matching"], scores["logprob_other"]
    expected = {
        "logit_diff": matching - other,
        "p_matching": np.exp(matching) / (np.exp(matching) + np.exp(other)),
        "logprob_matching": matching,
        # of one token and of two
        "logit_diff_per_token": matching - other / 2,
    }
    assert set(expected) == set(MEASURES)
    for name, values in expected.items():
        np.testing.assert_allclose(measured(scores, name)["value"], values)


def test_tables_hold_slopes_anti_steerable_share_and_position_bias():
    scores = made_scores()
    assert list(scores["layer"].unique()) == [-1, 1, 2]
    assert scores["ab_mass"].iloc[0] == pytest.approx(0.5)
    assert scores["p_matching"].iloc[0] == pytest.approx(0.5)
    scores, interval = measured(scores, "logit_diff"), Interval(1, 500, 0.95)
    table = slope_table(scores, interval).set_index("layer")
    assert table.loc[1, "slope"] == 0
    assert table.loc[2, "slope"] == pytest.approx(5.5 / 4)
    assert table.loc[2, "anti_steerable"] == 0.25
    # of four items there is no interval
    assert np.isnan([table.loc[2, "low"], table.loc[2, "high"]]).all()
    sides = sides_table(item_slopes(scores), interval).set_index(["layer", "side"])
    assert sides.loc[2, "slope"].to_list() == pytest.approx([2, 0.75])
    assert sides.loc[2, "n"].to_list() == [2, 2]
    change = change_table(scores, "logit_diff", interval)
    assert set(change["multiplier"]) == {-1, 0, 1}
    last = change[(change["layer"] == 2) & (change["multiplier"] == 1)].iloc[0]
    assert last["change"] == pytest.approx(5.5 / 4)


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_the_shards_of_a_sweep_join_to_the_unsharded_table(shards):
    whole = made_scores()
    parts = []
    for shard in range(shards):
        blocks = shard_of([1, 2], shard, shards)
        parts.append(whole[whole["layer"].isin([-1, *blocks])].reset_index(drop=True))
    pd.testing.assert_frame_equal(join_shards(parts), whole)


@given(st.integers(0, 40), st.integers(1, 50))
def test_shards_are_ranges_of_even_size_that_hold_every_block_once(n, shards):
    parts = [shard_of(range(n), shard, shards) for shard in range(shards)]
    assert [layer for part in parts for layer in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_best_block_is_never_chosen_on_test_items():
    assert best_block(*swept_slopes(made_scores()), seed=1)["layer"] == 2
    assert configured(1) == {"layer": 1, "layers": [1], "chosen": "by configuration"}
    with pytest.raises(UserError, match="dev items alone"):
        swept_slopes(pd.concat([made_scores(), made_scores("test")]))


def test_the_best_block_is_the_surest_and_not_the_largest():
    generator = np.random.default_rng(1)
    # block 4 has the larger mean slope, and one item that makes it
    slopes = np.stack([generator.normal(1, 0.2, 12), np.zeros(12)], axis=1)
    slopes[3, 1] = 24
    found = best_block([2, 4], slopes, seed=1)
    assert slopes[:, 1].mean() > slopes[:, 0].mean()
    assert (found["layer"], found["n"]) == (2, 12)
    assert found["standardized"] == pytest.approx(
        scipy_stats.ttest_1samp(slopes[:, 0], 0).statistic
    )
    assert found["stability"] > 0.99
    # two blocks that are alike are chosen about equally often
    alike = generator.normal(1, 0.5, size=(12, 2))
    assert 0.2 < best_block([2, 4], alike, seed=1)["stability"] < 1


def test_a_block_stands_out_where_no_control_reaches_it():
    nothing, high = np.linspace(-1, 3, 999), np.linspace(-1, 3, 9)
    assert stands_out(4.0, {"random": nothing}) == {"p_dev": 1 / 1000, "stands_out": True}
    # both kinds have to be exceeded
    found = stands_out(2.6, {"random": nothing, "shuffled": np.append(high, np.nan)})
    assert found == {"p_dev": pytest.approx(0.2), "stands_out": False}


def test_one_dev_item_chooses_no_block():
    with pytest.raises(UserError, match=r"steering\.prompts\.split\.dev"):
        best_block([2, 4], np.ones((1, 2)), seed=1)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "table.csv"

    def fail():
        with files.whole(path) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
    files.write_table(path, pd.DataFrame({"text": ["NA", "None", ""], "x": [1.5, None, 2]}))
    table = files.read_table(path)
    assert list(table["text"][:2]) == ["NA", "None"]
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_that_are_not_finite_are_not_written(tmp_path):
    with pytest.raises(UserError, match="'x' has values that are not finite"):
        files.write_tensors(tmp_path / "t.safetensors", {"x": np.array([1, np.nan])}, {})
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=20)
@given(st.dictionaries(st.text("abc-", min_size=1, max_size=4), st.integers(), max_size=5))
def test_tensors_come_back_with_their_metadata(tmp_path_factory, metadata):
    path = tmp_path_factory.mktemp("t") / "t.safetensors"
    tensors = {"x": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    files.write_tensors(path, tensors, metadata)
    back, noted = files.read_tensors(path)
    np.testing.assert_array_equal(back["x"], tensors["x"])
    assert noted == metadata


def test_run_times_add_up_per_rule(tmp_path):
    (tmp_path / "sweep").mkdir()
    for name, seconds, memory in (("sweep/a", 2, 100), ("sweep/b", 3, 50), ("model", 1, "-")):
        (tmp_path / f"{name}.tsv").write_text(f"s\tmax_rss\n{seconds}\t{memory}\n")
    counted = {"whole": 30.0, "positions": 33.0, "seconds": 2.0, "limit_seconds": 1.5, "gpu_mb": 0}
    counted |= {"needed": 20.0, "held": 25.0}
    for name in ("a", "b"):
        (tmp_path / f"sweep/{name}.json").write_text(json.dumps(counted))
    times = run_times(tmp_path)
    assert times == {
        "sweep": Times(
            2, 5.0, 100.0, 0, tokens=60, positions=66, needed=40, held=50, passing=4, limit=3
        ),
        "model": Times(1, 1.0),
    }
    assert total(times.values()) == Times(3, 6.0, 100.0, 0, 60, 66, 40, 50, 4, 3)
    cells = times["sweep"].cells()
    assert (cells["tokens a second"], cells["padding"]) == ("15", "0.10")
    assert cells["of those needed"] == "1.25"
    # of the time between first and last pass, and of all of the jobs' time
    assert (cells["share of the limit"], cells["of all its time"]) == ("0.75", "0.60")
    assert times["model"].cells()["share of the limit"] == ""
