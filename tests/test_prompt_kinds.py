"""Kinds of prompts: the same items under each, vectors and scores as plain passes give them."""

import importlib
import json
import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import plain
import pytest
from conftest import ARCHITECTURES, ROOT, mostly_long
from makers import INTERVAL
from many_tables import prompt_kinds as tables_of
from scipy import stats
from test_figures import said
from tiny_models import name_model

from steerpaper.engine.condition import Condition
from steerpaper.engine.text import choices, load_tokenizer
from steerpaper.errors import UserError
from steerpaper.plots import prompt_kinds as plots
from steerpaper.plots.style import GREY, readable
from steerpaper.stats import Interval
from steerpaper.steering.correlation import pearson, spearman
from steerpaper.steering.estimators import NAMES
from steerpaper.steering.items import read_items
from steerpaper.steering.kinds import BASE, KINDS
from steerpaper.steering.prompt_kinds import kind_vectors, texts_of, under_kinds
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.tables.prompt_kinds import correlations, prompt_kinds_tables
from steerpaper.workflow.files import read_jsonl, read_table, read_tensors
from steerpaper.workflow.job import Job

ALL = [BASE, *KINDS]
BOTH = {"for": "Be quick.", "against": "Be slow."}
ITEMS = read_items(ROOT / "data/behaviors/impatience.jsonl")
WHERE = "behaviors.impatience.about"
LAYERS = [1, 2]
MULTIPLIERS = [-1.5, 0.5, 1]


def study_prompts(tokenizer, contrast, system=None):
    """The study's own train and test prompts, as rows of their files."""
    options = {"behavior": "impatience", "contrast": contrast, "system": system}
    parts = {"train": ITEMS[:6], "test": ITEMS[6:10]}
    return {
        split: as_rows(serialize(tokenizer, items, split=split, seed=1, context=None, **options))
        for split, items in parts.items()
    }


def made(tokenizer, contrast, *, train=None, test=4, system=None, texts=BOTH):
    """Rows by kind, and the reasons of kinds that could not be had."""
    of_study = study_prompts(tokenizer, contrast, system)
    splits = {"train": (of_study["train"], train), "test": (of_study["test"], test)}
    said_of = texts_of({"system_prompts": texts}, ALL, WHERE)
    rows = under_kinds(tokenizer, splits, said_of, where=WHERE, system=system, seed=1, context=None)
    found = {
        kind: [row for row in rows if row["kind"] == kind and "note" not in row] for kind in ALL
    }
    notes = {row["kind"]: row["note"] for row in rows if "note" in row}
    return of_study, {kind: part for kind, part in found.items() if part}, notes


@pytest.mark.parametrize("contrast", ["answers", "letters"])
@pytest.mark.parametrize("system", [None, "You answer."])
def test_every_kind_shows_the_same_items_with_its_text_in_its_place(load_tiny, contrast, system):
    tokenizer = load_tiny("llama").tokenizer
    of_study, found, notes = made(tokenizer, contrast, system=system)
    assert not notes
    base = [*of_study["train"], *of_study["test"]]
    assert found[BASE] == [{"kind": BASE, "said": "", **row} for row in base]
    for kind, where in KINDS.items():
        text = BOTH[where.side]
        for row, own in zip(found[kind], base, strict=True):
            same = ("id", "split", "side", "answers", "matching", "other", "source", "contrast")
            assert all(row[key] == own[key] for key in same)
            assert row["said"] == text
            assert row["ids"] == tokenizer(row["text"], add_special_tokens=False)["input_ids"]
            turn = f"<|start|>system\n{text}<|end|>\n" if where.place == "system" else ""
            turn += f"<|start|>system\n{system}<|end|>\n" if system and not turn else ""
            before = f"{text}\n\n" if where.place == "user" else ""
            start = f"{turn}<|start|>user\n{before}{own['question']}"
            assert row["text"].startswith(start)
            # behind the question all prompts are alike
            assert row["text"][len(start) :] == own["text"].partition(own["question"])[2]


def test_a_part_of_the_items_is_balanced_and_has_the_letters_of_the_whole(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    of_study, found, _ = made(tokenizer, "letters", train=4, test=2)
    letters = {row["id"]: row["side"] for rows in of_study.values() for row in rows}
    for rows in found.values():
        for split, n in (("train", 4), ("test", 2)):
            sides = [row["side"] for row in rows if row["split"] == split]
            assert sorted(sides) == ["A"] * (n // 2) + ["B"] * (n // 2)
        assert all(letters[row["id"]] == row["side"] for row in rows)


def test_letters_as_given_stay_with_all_their_choices_under_every_kind(load_tiny, tmp_path):
    lines = [
        {
            "question": f"Which one, {n}?\n\nChoices:\n (A) Tea\n (B) Milk\n (C) Water",
            "answer_matching_behavior": "(C)" if n % 2 else "(A)",
            "answer_not_matching_behavior": "(B)",
        }
        for n in range(6)
    ]
    (tmp_path / "items.json").write_text(json.dumps(lines))
    items = [replace(item, split="test") for item in read_items(tmp_path / "items.json")]
    tokenizer = load_tiny("llama").tokenizer
    options = {"system": None, "seed": 1, "context": None, "letters": "as_given"}
    own = as_rows(
        serialize(tokenizer, items, behavior="tea", contrast="letters", split="test", **options)
    )
    said_of = texts_of({"system_prompts": BOTH}, ALL, WHERE)
    rows = under_kinds(tokenizer, {"test": (own, None)}, said_of, where=WHERE, **options)
    assert len(rows) == len(ALL) * len(own)
    for kind in ALL:
        for row, first in zip([row for row in rows if row["kind"] == kind], own, strict=True):
            same = ("id", "side", "matching", "other", "matching_ids", "other_ids", "answers")
            assert all(row[key] == first[key] for key in same)
            assert " (A) Tea\n (B) Milk\n (C) Water" in row["text"]
    assert {row["side"] for row in own} == {"A", "C"}


def test_a_template_without_system_prompt_leaves_its_kinds_out_with_the_reason(
    load_tiny, monkeypatch
):
    tokenizer = load_tiny("llama").tokenizer
    refuses = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    )
    ignores = "{% for m in messages if m.role != 'system' %}{{ m.content }}\n{% endfor %}"
    for template in (refuses + ignores, ignores):
        monkeypatch.setattr(tokenizer, "chat_template", template)
        _, found, notes = made(tokenizer, "answers")
        assert set(found) == {BASE, "user_for", "user_against"}
        assert set(notes) == {"system_for", "system_against"}
        assert all("template" in reason for reason in notes.values())


def test_a_template_that_puts_the_system_prompt_into_the_users_turn_has_every_kind(
    load_tiny, monkeypatch
):
    tokenizer = load_tiny("llama").tokenizer
    folds = (
        "{% set own = messages[0].content + '\n\n' if messages[0].role == 'system' else '' %}"
        "{% for m in messages if m.role == 'user' %}[INST] {{ own + m.content }} [/INST]"
        "{% endfor %}"
        "{% for m in messages if m.role == 'assistant' %} {{ m.content }}{% endfor %}"
    )
    monkeypatch.setattr(tokenizer, "chat_template", folds)
    _, found, notes = made(tokenizer, "answers")
    assert not notes
    # as Mistral's does: the two kinds are one there
    for side in ("for", "against"):
        texts = [[row["text"] for row in found[f"{place}_{side}"]] for place in ("system", "user")]
        assert texts[0] == texts[1]


def test_too_long_a_prompt_names_its_kind(load_tiny):
    tokenizer = load_tiny("llama").tokenizer
    rows = study_prompts(tokenizer, "answers")
    options = {"where": WHERE, "system": None, "seed": 1, "context": 120}
    with pytest.raises(UserError, match=r"^steering\.prompt_kinds, user_for: .*reads 120"):
        under_kinds(tokenizer, {"test": (rows["test"], 2)}, {"user_for": "So! " * 99}, **options)


@pytest.fixture(scope="module")
def place(tmp_path_factory, model_folders):
    """A study's folder for every architecture, with what the scripts read."""
    folders = {}

    def of(name, contrast="answers"):
        if (name, contrast) in folders:
            return folders[name, contrast]
        folder = tmp_path_factory.mktemp(f"{name}-{contrast}")
        shutil.copytree(model_folders[name], folder / "model")
        name_model(folder / "model")
        (folder / "block.json").write_text(json.dumps({"layer": 1, "layers": LAYERS}))
        (folder / "about.json").write_text(json.dumps({"system_prompts": BOTH}))
        tokenizer = load_tokenizer(folder / "model")
        for split, rows in study_prompts(tokenizer, contrast).items():
            path = folder / f"{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        folders[name, contrast] = folder
        return folder

    return of


RUN = {"run": {"device": "cpu", "dtype": "float32"}}


# rules of all contrasts
SEVERAL = ("activations", "vectors", "steering_vectors")


def run(folder, script, inputs, output, params, budget=400):
    """Run a rule's script; the path of its output."""
    key = {
        "activations": "activations",
        "prompt_kinds": "scores",
        "prompt_kinds_prompts": "prompts",
    }
    path = folder / output
    job = Job(
        input={"model": str(folder / "model/engine.json")}
        | {
            name: [str(folder / path) for path in one]
            if isinstance(one, list)
            else str(folder / one)
            for name, one in inputs.items()
        },
        output={key.get(script, "vectors"): [str(path)] if script in SEVERAL else str(path)},
        params=params,
        wildcards={"behavior": "impatience", "contrast": "answers"},
        threads=1,
        log=str(folder / "log"),
        batch_tokens=budget,
        how={"about": "impatience.yaml"},
    )
    importlib.import_module(f"steering.{script}").main(job)
    return path


def scored(folder, output="scores.parquet", budget=400, **settings):
    """The scores of every kind, as the two rules make them from the study's own files."""
    params = {"kinds": ALL, "train": "all", "prompts": 2, "system": None, "letters": "dealt"}
    params |= {"date": "2024-07-26", "seed": 1}
    inputs = {"train": "train.jsonl", "test": "test.jsonl", "about": "about.json"}
    run(folder, "prompt_kinds_prompts", inputs, "kinds.jsonl", params)
    if not (folder / "steering.safetensors").exists():
        study_vectors(folder)
    inputs = {"prompts": "kinds.jsonl", "vectors": "steering.safetensors", "block": "block.json"}
    params = {**RUN, "multipliers": MULTIPLIERS, "norm": "base", "estimator": "mean_difference"}
    params |= {"positions": "response"}
    return run(folder, "prompt_kinds", inputs, output, params | settings, budget)


def study_vectors(folder, **settings):
    """The study's own vectors of the same training items, by its own rules; the tensors."""
    run(
        folder,
        "activations",
        {"prompts": ["train.jsonl"]},
        "activations.safetensors",
        {**RUN, "contrasts": ["answers"]},
    )
    inputs = {"activations": ["activations.safetensors"]}
    run(folder, "vectors", inputs, "vectors.safetensors", {"controls": 1, "seed": 1})
    params = {"estimator": "mean_difference", "normalize": False, "multiplier_unit": "vector"}
    inputs |= {"vectors": ["vectors.safetensors"], "all": []}
    params |= settings
    return read_tensors(run(folder, "steering_vectors", inputs, "steering.safetensors", params))[0]


@pytest.mark.parametrize("lm", ARCHITECTURES, indirect=True)
@pytest.mark.parametrize("contrast", mostly_long(["answers", "letters"], "answers"))
def test_slopes_of_every_pair_equal_plain_forward_passes(place, lm, request, contrast):
    name = request.node.callspec.params["lm"]
    folder = place(name, contrast)
    scores = read_table(scored(folder))
    tables = prompt_kinds_tables(
        {"impatience": scores},
        {("impatience", "answers"): {"layers": LAYERS}},
        interval=INTERVAL,
        measures=["logit_diff"],
    )
    table = tables["prompt_kinds"].set_index(["trained", "used"])["slope"]
    rows = {kind: [] for kind in ALL}
    for row in read_jsonl(folder / "kinds.jsonl"):
        rows[row["kind"]].append(row)
    pairs = {
        (kind, split): choices([row for row in rows[kind] if row["split"] == split])
        for kind, split in product(ALL, ("train", "test"))
    }
    vectors = {}
    for kind in ALL:
        read = plain.activations(lm, pairs[kind, "train"])
        vectors[kind] = (read["matching"] - read["other"]).astype(float).mean(axis=0)
    size = np.linalg.norm(vectors[BASE], axis=1)
    vectors = {
        kind: vector / np.linalg.norm(vector, axis=1)[:, None] * size[:, None]
        for kind, vector in vectors.items()
    }
    wanted = [Condition(tuple(LAYERS), kind, m) for kind in ALL for m in MULTIPLIERS]
    expected = {}
    for used in ALL:
        unsteered, steered = plain.scores(lm, pairs[used, "test"], vectors, wanted)
        base = unsteered[:, 0] - unsteered[:, 1]
        moved = (steered[..., 0] - steered[..., 1]).reshape(2, len(ALL), len(MULTIPLIERS))
        for place_of, trained in enumerate(ALL):
            y = np.column_stack([base, moved[:, place_of]])
            expected[trained, used] = np.polyfit([0, *MULTIPLIERS], y.T, 1)[0].mean()
    assert set(expected) == set(table.index)
    ours = [table[pair] for pair in expected]
    np.testing.assert_allclose(ours, list(expected.values()), atol=2e-4)
    # vectors of one norm have one spread of random directions, under each kind its own
    spreads = scores[scores["direction"] != "unsteered"].groupby("used")["control_sd"]
    np.testing.assert_allclose(spreads.max(), spreads.min(), rtol=1e-5)
    assert (spreads.min() > 0).all()
    assert spreads.first().nunique() == len(ALL) or name == "mistral"
    # the kinds differ, but where a window of twelve tokens does not reach the text
    assert np.ptp(ours) > 0.02 or name == "mistral"


def test_scores_are_the_same_to_the_byte_for_any_budget(place):
    folder = place("llama")
    files = [
        scored(folder, f"scores{budget}.parquet", budget).read_bytes() for budget in (1, 90, 5000)
    ]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize(
    "unit", [{}, {"multiplier_unit": "residual"}, {"estimator": "probe"}, {"estimator": "pca"}]
)
def test_the_vector_under_base_is_the_studys_own_where_the_items_are(place, unit):
    folder = place("gpt2")
    own = study_vectors(folder, **unit)["behavior"]
    read, _ = read_tensors(folder / "activations.safetensors")
    estimator = unit.get("estimator", "mean_difference")
    both = tuple(read[side][:, LAYERS] for side in ("matching", "other"))
    for norm in ("base", "own"):
        found = kind_vectors({BASE: both}, LAYERS, own, estimator=estimator, norm=norm)[BASE]
        np.testing.assert_allclose(found[LAYERS], own[LAYERS], rtol=2e-5, atol=1e-6)
        assert not found[[0, 3]].any()


def activations_of(sizes):
    """Activations of kinds whose differences have these sizes at both blocks."""
    generator = np.random.default_rng(0)
    other = generator.normal(size=(6, 2, 5))
    ways = {kind: generator.normal(size=5) for kind in sizes}
    return {
        kind: (other + size * ways[kind] / np.linalg.norm(ways[kind]), other)
        for kind, size in sizes.items()
    }


@pytest.mark.parametrize("estimator", NAMES)
def test_norms_are_the_steering_vectors_or_keep_their_ratio_to_bases(estimator):
    sizes = {BASE: 2.0, "user_for": 6.0, "system_for": 1.0}
    steering = np.full((4, 5), 3.0)
    unit = np.linalg.norm(steering[0])
    for norm, ratios in (("base", (1, 1, 1)), ("own", (1, 3, 0.5))):
        found = kind_vectors(
            activations_of(sizes), LAYERS, steering, estimator=estimator, norm=norm
        )
        for kind, ratio in zip(sizes, ratios, strict=True):
            norms = np.linalg.norm(found[kind][LAYERS], axis=1)
            np.testing.assert_allclose(norms, ratio * unit, rtol=1e-5)


def test_a_vector_of_norm_zero_stays_zero_under_either_norm():
    for norm in ("base", "own"):
        found = kind_vectors(
            activations_of({BASE: 0.0, "user_for": 1.0}),
            LAYERS,
            np.zeros((4, 5)),
            estimator="mean_difference",
            norm=norm,
        )
        assert not any(vector.any() for vector in found.values())


def scores_of(effects, notes=(), n=6):
    """Scores of a behaviour whose slope is planted: effects by (trained, used)."""
    rows = []
    generator = np.random.default_rng(1)
    for used in ALL:
        common = {"used": used, "note": None, "ab_mass": np.nan}
        if used in dict(notes):
            rows.append(
                {**common, "note": dict(notes)[used], "direction": "unsteered", "layer": -1}
            )
            rows[-1] |= {"layers": "", "multiplier": 0.0}
            continue
        for item in range(n):
            base, lift = generator.normal(), generator.normal(0, 0.1)
            own = {**common, "prompt_id": f"p{item}", "matching": None, "logprob_other": -3.0}
            for trained, m in [("unsteered", 0.0), *product(ALL, MULTIPLIERS)]:
                steered = trained != "unsteered"
                if trained in dict(notes):
                    continue
                slope = effects[trained, used] + lift if steered else 0.0
                row = {"direction": trained, "multiplier": m, "layer": 1 if steered else -1}
                row |= {"layers": "1+2" if steered else "", "norm": 2.0 if steered else np.nan}
                # by the kind of prompt, as gradients are
                row |= {"control_sd": 0.1 * (1 + ALL.index(used)) if steered else np.nan}
                rows.append({**own, **row, "logprob_matching": base - 3 + slope * m})
    return pd.DataFrame(rows)


def effects_of(rng, size):
    """A behaviour's slopes: less where the kinds differ."""
    return {
        (trained, used): size * (1 if trained == used else 0.5) + rng.normal(0, 0.2)
        for trained, used in product(ALL, ALL)
    }


def summed_up(scores):
    blocks = {(name, "answers"): {"layers": LAYERS} for name in scores}
    return prompt_kinds_tables(scores, blocks, interval=INTERVAL, measures=["logit_diff"])


def test_random_directions_are_known_of_the_logit_difference_under_each_kind_of_use():
    scores = {"calm": scores_of(effects_of(np.random.default_rng(2), 1.0))}
    blocks = {("calm", "answers"): {"layers": LAYERS}}
    measures = ["logit_diff", "p_matching"]
    table = prompt_kinds_tables(scores, blocks, interval=INTERVAL, measures=measures)[
        "prompt_kinds"
    ]
    known = table[table["measure"] == "logit_diff"]
    half = known["used"].map(lambda used: 1.96 * 0.1 * (1 + ALL.index(used)))
    np.testing.assert_allclose(known["control_high"], half, rtol=1e-3)
    np.testing.assert_allclose(known["control_low"], -half, rtol=1e-3)
    other = table[table["measure"] == "p_matching"]
    assert other[["control_low", "control_high"]].isna().all(None)


def test_a_planted_slope_and_correlation_are_found_as_other_libraries_find_them():
    rng = np.random.default_rng(2)
    planted = {f"b{number}": effects_of(rng, rng.normal(1, 1)) for number in range(9)}
    tables = summed_up({name: scores_of(effects) for name, effects in planted.items()})
    table = tables["prompt_kinds"]
    assert list(table["trained"].unique()) == list(table["used"].unique()) == ALL
    assert len(table) == 9 * 25
    assert set(table["n"]) == {6}
    for row in table.itertuples():
        # the items' own lifts are a tenth
        assert row.slope == pytest.approx(planted[row.behavior][row.trained, row.used], abs=0.15)
        assert row.low < row.slope < row.high
        assert row.flags == "few items"
    found = tables["prompt_kinds_correlation"]
    assert len(found) == 24
    assert not ((found["trained"] == BASE) & (found["used"] == BASE)).any()
    cells = table.pivot(index="behavior", columns=["trained", "used"], values="slope")
    for row in found.itertuples():
        x, y = cells[BASE, BASE], cells[row.trained, row.used]
        assert row.spearman == pytest.approx(stats.spearmanr(x, y)[0])
        theirs = stats.pearsonr(x, y)
        assert row.pearson == pytest.approx(theirs[0])
        ends = theirs.confidence_interval(0.95)
        np.testing.assert_allclose((row.pearson_low, row.pearson_high), ends)
        assert row.spearman_low < row.spearman < row.spearman_high
        assert (row.n, row.flags) == (9, "")


def test_a_kind_that_could_not_be_had_has_rows_of_n_0_with_the_reason():
    rng = np.random.default_rng(3)
    why = {"system_for": "no system role"}
    scores = {f"b{number}": scores_of(effects_of(rng, number), why.items()) for number in range(5)}
    tables = summed_up(scores)
    table = tables["prompt_kinds"]
    gone = (table["trained"] == "system_for") | (table["used"] == "system_for")
    assert gone.sum() == 5 * 9
    assert (table.loc[gone, "n"] == 0).all()
    assert (table.loc[gone, "note"] == "no system role").all()
    assert table.loc[gone, "slope"].isna().all()
    assert table.loc[~gone, "slope"].notna().all()
    found = tables["prompt_kinds_correlation"].set_index(["trained", "used"])
    assert found.loc[("system_for", BASE), "n"] == 0
    assert np.isnan(found.loc[("system_for", BASE), "spearman"])
    assert found.loc[(BASE, "user_for"), "n"] == 5


def test_correlations_of_few_behaviours_have_no_interval_and_of_two_none():
    rng = np.random.default_rng(4)
    for n, known in ((1, False), (2, False), (3, True), (4, True)):
        scores = {f"b{number}": scores_of(effects_of(rng, number)) for number in range(n)}
        found = summed_up(scores)["prompt_kinds_correlation"]
        assert (found["n"] == n).all()
        assert (found["flags"] == "no interval").all()
        for name in ("spearman", "pearson"):
            assert found[name].notna().all() == found[name].notna().any() == known
            assert found[[f"{name}_low", f"{name}_high"]].isna().all(axis=None)


NINE = np.arange(9.0)


@pytest.mark.parametrize("correlate", [pearson, spearman])
def test_a_side_that_does_not_vary_and_numbers_that_are_none_have_no_correlation(correlate):
    assert np.isnan(correlate(NINE, np.zeros(9), INTERVAL)).all()
    assert np.isnan(correlate(NINE, np.full(9, np.nan), INTERVAL)).all()
    holed = np.where(NINE < 2, np.nan, NINE**2)
    assert correlate(NINE, holed, INTERVAL) == correlate(NINE[2:], NINE[2:] ** 2, INTERVAL)


@pytest.mark.parametrize("n", [5, 9, 20, 40])
def test_ranks_in_one_order_have_an_interval_of_some_width(n):
    x = np.arange(float(n))
    value, low, high = spearman(x, np.exp(x / 4), INTERVAL)
    assert (value, high) == (pytest.approx(1), 1)
    assert low < 1 - 1e-4
    value, low, high = spearman(x, -x, INTERVAL)
    assert (value, low) == (pytest.approx(-1), -1)
    assert high > 1e-4 - 1


def drawn(rng, n, rho, tails):
    x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=n).T
    scale = np.sqrt(3 / rng.chisquare(3, size=n)) if tails else 1
    return x * scale, y * scale


@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("n", mostly_long([5, 13, 30], 13))
def test_intervals_of_correlations_hold_the_truth_as_docs_statistics_says(n, tails):
    rng = np.random.default_rng(5)
    interval = Interval(seed=1, resamples=300, confidence=0.95)
    least = {"pearson": 0.75 if tails else 0.9, "spearman": 0.87}
    for rho in (0.0, 0.7):
        many = drawn(rng, 200_000, rho, tails)
        for correlate in (pearson, spearman):
            truth = correlate_all(correlate, *many)
            runs = [correlate(*drawn(rng, n, rho, tails), interval) for _ in range(400)]
            held = np.mean([low <= truth <= high for _, low, high in runs])
            assert held >= least[correlate.__name__], (rho, correlate.__name__, held)


def correlate_all(correlate, x, y):
    return (stats.spearmanr if correlate is spearman else stats.pearsonr)(x, y)[0]


def test_the_correlation_of_every_measure_is_its_own():
    rng = np.random.default_rng(6)
    scores = {f"b{number}": scores_of(effects_of(rng, number)) for number in range(6)}
    blocks = {(name, "answers"): {} for name in scores}
    both = prompt_kinds_tables(
        scores, blocks, interval=INTERVAL, measures=["logit_diff", "p_matching"]
    )
    for name in ("prompt_kinds", "prompt_kinds_correlation"):
        table = both[name]
        assert table.columns[-1] == "measure"
        assert len({*table.groupby("measure").size()}) == 1
    table = both["prompt_kinds"]
    of_shares = correlations(table[table["measure"] == "p_matching"], INTERVAL)
    found = both["prompt_kinds_correlation"]
    found = found[found["measure"] == "p_matching"].reset_index(drop=True)
    pd.testing.assert_series_equal(found["spearman"], of_shares["spearman"])


def test_an_image_has_every_slope_in_brackets_where_its_interval_holds_0():
    table, correlation = tables_of(1)
    table["slope"] += 2
    table["low"] = table["slope"].where(table["used"] != "user_for", -9.0)
    table["high"] = table["slope"]
    figure = plots.prompt_kinds(readable(table), readable(correlation))
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.texts]
    expected = [
        f"({row.slope:.1f})" if row.used == "user_for" else f"{row.slope:.1f}"
        for row in table.itertuples()
    ]
    assert sorted(texts) == sorted(expected)


def test_a_slope_that_a_random_direction_may_have_is_grey_and_of_many_behaviours_a_band_has_it():
    table, correlation = tables_of(1)
    usual = table["used"] == "user_for"
    table["control_high"] = table["slope"].abs() + 0.1
    table["control_low"] = -table["control_high"].where(usual, -50.0)
    table["control_high"] = table["control_high"].where(usual, 60.0)
    (ax,) = plots.prompt_kinds(readable(table), readable(correlation)).axes
    # seaborn writes the cells row by row
    grey = [text.get_color() == GREY for text in ax.texts]
    assert grey == usual.tolist()
    table, correlation = tables_of(9)
    figure = plots.many_behaviors(table.assign(control_high=0.5), correlation)
    for axis in figure.axes[: len(ALL)]:
        (band,) = axis.patches
        low, high = band.get_extents().transformed(axis.transData.inverted()).intervaly
        assert (low, high) == pytest.approx((-0.3, 0.5))


def test_of_few_behaviours_a_last_panel_has_the_correlations_and_no_cell_for_base_with_itself():
    table, correlation = tables_of(5)
    figure = plots.prompt_kinds(table, correlation)
    last = [text.get_text() for text in figure.axes[5].texts]
    assert len(last) == 25
    assert last.count("–") == 1
    assert len(plots.prompt_kinds(*tables_of(2)).axes) == 2


def test_a_kind_without_scores_is_shown_as_missing_in_both_forms():
    for n, draw in ((2, plots.prompt_kinds), (9, plots.many_behaviors)):
        table, _ = tables_of(n)
        gone = (table["used"] == "system_for") | (table["trained"] == "system_for")
        table.loc[gone, ["slope", "low", "high"]] = np.nan
        table.loc[gone, ["n", "flags"]] = [0, None]
        found = correlations(table, INTERVAL).assign(measure="logit_diff")
        figure = draw(table, found)
        shown = said(figure)
        assert "nan" not in shown
        if n == 2:
            # a row and a column of five
            assert [t.get_text() for t in figure.axes[0].texts].count("–") == 9
        else:
            assert "used under system for: n = 0" in shown


def test_a_point_is_a_behaviours_slope_in_distribution_and_under_another_kind():
    table, correlation = tables_of(9)
    figure = plots.many_behaviors(table, correlation)
    ax = figure.axes[ALL.index("user_against")]
    points = {line.get_label(): line for line in ax.get_lines()}
    cells = table.pivot(index="behavior", columns=["trained", "used"], values="slope")
    line = points["system for"]
    np.testing.assert_allclose(line.get_xdata(), cells[BASE, BASE])
    np.testing.assert_allclose(line.get_ydata(), cells["system_for", "user_against"])
    # base with itself is no test of itself
    assert "base" not in {line.get_label() for line in figure.axes[0].get_lines()}
