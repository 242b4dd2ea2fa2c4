"""Published numbers: what the files say, how they are held against ours, what the verdict is."""

import copy
import itertools
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from asked import rules_of
from conftest import ROOT, mostly_long
from jinja2 import Environment
from scipy.stats import ks_2samp, norm
from test_docs import keys
from test_manuscript import default_config, said

from steerpaper import stats
from steerpaper.errors import UserError
from steerpaper.lookups.tables.published import read_published
from steerpaper.plots.style import readable
from steerpaper.plots.verdict import verdict as drawn
from steerpaper.published.compare import Estimate, ks_interval, published_interval, verdict
from steerpaper.published.numbers import read_setting
from steerpaper.published.registry import (
    data_keys,
    own_papers,
    papers_of,
    protocol_keys,
    read_paper,
    read_registry,
    tables_wanted,
)
from steerpaper.published.table import COLUMNS, Study, counted, verdict_tables
from steerpaper.stats import Interval
from steerpaper.steering.measures import MEASURES
from steerpaper.workflow.captions import for_captions
from steerpaper.workflow.config import validated
from steerpaper.workflow.data import pinned
from steerpaper.workflow.sources import named_model

INTERVAL = Interval(seed=1, resamples=500, confidence=0.95)
REGISTRY = read_registry()
PAPERS = {
    name: read_paper(files["numbers"], files["about"], REGISTRY)
    for name, files in own_papers().items()
}
CAA, NEO = PAPERS["caa-2023"], PAPERS["neo-2024"]
LLAMA = "meta-llama/Llama-2-7b-chat-hf"
# below these a study names what it likes
FREE = ("steering.benchmarks.sets.", "lookups.corpus.hub.")
# of keys of the paper's protocol that another branch brings
LETTERS = "steering.prompts.letters"


# what the files say


def test_every_file_of_published_numbers_fits_the_registry():
    assert set(PAPERS) == {"caa-2023", "neo-2024", "tan-2024", "refusal-direction"}
    counts = {name: len(paper.numbers) for name, paper in PAPERS.items()}
    # of CAA: 126 of A/B and an earlier one, 30 of MMLU, 6 of TruthfulQA, 2 blocks
    assert counts["caa-2023"] == 126 + 1 + 30 + 6 + 2
    for paper in PAPERS.values():
        for number in paper.numbers:
            quantity = REGISTRY.quantities[number.quantity]
            low, high = REGISTRY.units[quantity.unit]
            assert number.unit == quantity.unit
            assert low is None or number.value >= low
            assert high is None or number.value <= high
            assert set(number.setting) <= set(quantity.keys)


@pytest.mark.parametrize(
    ("paper", "quantity", "model", "setting", "value", "n"),
    [
        ("caa-2023", "p_matching", "Llama-2-7b-chat",
         "behavior=sycophancy; multiplier=1; system_prompt=negative", 0.67, 50),
        ("caa-2023", "p_matching", "Llama-2-13b-chat",
         "behavior=coordinate-other-ais; multiplier=-1; system_prompt=positive", 0.28, 50),
        ("caa-2023", "mmlu", "Llama-2-13b-chat", "behavior=sycophancy; multiplier=-1", 0.58, 570),
        ("caa-2023", "mmlu", "Llama-2-7b-chat", "behavior=refusal; multiplier=1", 0.62, 570),
        ("caa-2023", "truthfulqa", "Llama-2-7b-chat", "behavior=sycophancy; multiplier=0", 0.54,
         817),
        ("neo-2024", "explanation_score", "Pythia-160m", "neurons=next_token", 0.621, None),
        ("neo-2024", "explanation_score_skew_p", "GPT-2 large", "neurons=random", 4.016e-5, None),
        ("neo-2024", "ablation_ks", "GPT-2 large", "neurons=next_token", 0.29317, 612),
        ("tan-2024", "block", "Qwen-1.5-14b-chat", "", 21, None),
        ("refusal-direction", "cross_entropy", "Yi-6B-chat", "corpus=alpaca; direction=ablated",
         1.886, 282786),
    ],
)  # fmt: skip
def test_numbers_are_those_that_the_papers_printed(paper, quantity, model, setting, value, n):
    (found,) = [
        number
        for number in PAPERS[paper].numbers
        if (number.quantity, number.model, number.written) == (quantity, model, setting)
    ]
    assert (found.value, found.n) == (value, n)


def test_the_authors_protocols_name_keys_of_the_configuration():
    schema = yaml.safe_load((ROOT / "config.schema.yaml").read_text())
    known = {*keys(schema, schema)} | {LETTERS}
    named = protocol_keys(PAPERS.values())
    assert {key for key in named if not key.startswith(FREE)} <= known


def test_a_setting_is_read_strictly():
    assert read_setting("behavior=a-b; multiplier=-0.5", "x") == {
        "behavior": "a-b",
        "multiplier": "-0.5",
    }
    assert read_setting("", "x") == {}
    for text in ("behavior", "a=1;b=2", "a=1, b=2", "a=1; a=2", "A=1", "a=", "a= 1", "a=1;", " "):
        with pytest.raises(UserError, match=r"^line: setting"):
            read_setting(text, "line")


def test_lookups_take_what_the_paper_printed_of_its_final_runs():
    table = read_published(ROOT / "data/published/neo-2024.csv")
    assert list(table["quantity"].value_counts()) == [6, 3]
    (small,) = table[
        (table["model"] == "GPT-2 small") & table["quantity"].str.contains("KS")
    ].to_dict("records")
    assert (small["value"], small["p"]) == (0.24186, 1.0247e-5)
    (score,) = table[(table["model"] == "Pythia-1.4b")].to_dict("records")
    assert (score["value"], score["sd"]) == (0.574, 0.176)


# inside and outside


def test_the_interval_of_a_published_share_is_wilsons_and_has_none_where_n_is_unknown():
    for value in (0.0, 0.02, 0.5, 0.98, 1.0):
        found = published_interval(value, None, 50, "share", 0.95)
        hits = np.zeros(50)
        hits[: round(50 * value)] = 1
        _, low, high = stats.share_interval(hits, INTERVAL)
        assert (found.low, found.high) == (pytest.approx(float(low)), pytest.approx(float(high)))
    assert np.isnan(published_interval(0.5, None, None, "share", 0.95).low)
    assert np.isnan(published_interval(0.5, None, 50, "mean", 0.95).low)
    assert np.isnan(published_interval(0.5, 0.1, 50, "none", 0.95).low)
    mean = published_interval(0.5, 0.1, 25, "mean", 0.9)
    assert mean.high - 0.5 == pytest.approx(norm.isf(0.05) * 0.1 / 5)


def test_ends_are_joined_in_quadrature_each_on_the_other_numbers_side():
    ours = Estimate(0.5, 0.4, 0.53)
    # 0.04 on our side of the published number, 0.03 of ours on its side: 0.05 together
    assert verdict(Estimate(0.55, 0.51, 0.9), ours) == "inside"
    assert verdict(Estimate(0.551, 0.511, 0.9), ours) == "outside"
    # below: 0.1 of ours, and the upper part of the published interval
    assert verdict(Estimate(0.4, 0.1, 0.4), ours) == "inside"
    assert verdict(Estimate(0.399, 0.1, 0.399), ours) == "outside"
    assert verdict(Estimate(0.53), ours) == "inside"
    assert verdict(Estimate(0.54), ours) == "outside"


def agreed(published, ours):
    """How often pairs of equal truth are inside."""
    said = [verdict(one, other) for one, other in zip(published, ours, strict=True)]
    return np.mean([one == "inside" for one in said])


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_equal_shares_are_inside_in_95_percent(p):
    generator = np.random.default_rng(3)
    n, m, draws = 50, 40, 3000
    theirs = generator.binomial(n, p, draws) / n
    hits = generator.binomial(1, p, (m, draws)).astype(float)
    share, low, high = stats.share_interval(hits, INTERVAL)
    ours = [Estimate(*map(float, one)) for one in zip(share, low, high, strict=True)]
    published = [published_interval(float(one), None, n, "share", 0.95) for one in theirs]
    assert 0.93 <= agreed(published, ours) <= 0.98


def test_equal_means_of_probabilities_are_inside_at_least_as_often():
    generator = np.random.default_rng(8)
    theirs = generator.beta(1.4, 0.6, (50, 800)).mean(axis=0)
    found = stats.mean_interval(generator.beta(1.4, 0.6, (50, 800)), INTERVAL)
    ours = [Estimate(*map(float, one)) for one in zip(*found, strict=True)]
    published = [published_interval(float(one), None, 50, "share", 0.95) for one in theirs]
    assert agreed(published, ours) >= 0.95


@pytest.mark.parametrize(("n", "m"), [(30, 60), (200, 25)])
def test_equal_means_are_inside_in_95_percent(n, m):
    generator = np.random.default_rng(4)
    draws = 1500
    theirs = generator.normal(2, 1, (n, draws))
    ours = generator.normal(2, 1, (m, draws))
    mean, low, high = stats.mean_interval(ours, INTERVAL)
    found = [Estimate(*map(float, one)) for one in zip(mean, low, high, strict=True)]
    published = [
        published_interval(float(one.mean()), float(one.std(ddof=1)), n, "mean", 0.95)
        for one in theirs.T
    ]
    assert 0.925 <= agreed(published, found) <= 0.97


def test_equal_ks_statistics_are_inside_in_95_percent_or_more():
    generator = np.random.default_rng(5)
    n, m = 100, 60

    def statistic(size):
        return ks_2samp(generator.normal(0, 1, size), generator.normal(0.8, 1, size)).statistic

    pairs = [(statistic(n), statistic(m)) for _ in range(400)]
    published = [published_interval(one, None, n, "ks", 0.95) for one, _ in pairs]
    ours = [ks_interval(other, m, m, 0.95) for _, other in pairs]
    assert agreed(published, ours) >= 0.93


def test_other_truths_are_outside_most_of_the_time():
    generator = np.random.default_rng(6)
    theirs = generator.binomial(200, 0.3, 500) / 200
    share, low, high = stats.share_interval(
        generator.binomial(1, 0.6, (200, 500)).astype(float), INTERVAL
    )
    ours = [Estimate(*map(float, one)) for one in zip(share, low, high, strict=True)]
    published = [published_interval(float(one), None, 200, "share", 0.95) for one in theirs]
    assert agreed(published, ours) < 0.05


def test_of_the_same_items_equal_numbers_are_always_inside():
    generator = np.random.default_rng(7)
    hits = generator.binomial(1, 0.4, (50, 300)).astype(float)
    share, low, high = stats.share_interval(hits, INTERVAL)
    ours = [Estimate(*map(float, one)) for one in zip(share, low, high, strict=True)]
    published = [published_interval(float(one), None, 50, "share", 0.95) for one in share]
    assert agreed(published, ours) == 1


# the tables


def protocol(paper, number):
    """A configuration that has a paper's protocol."""
    return paper.protocol_of(number, of_model=True)


def study(paper=CAA, quantity="p_matching", model=LLAMA, **values):
    """A study of a paper's protocol and files, in some keys otherwise."""
    number = next(one for one in paper.numbers if one.quantity == quantity)
    digests = {key: one for each in paper.numbers for key, one in paper.data_of(each).items()}
    return Study(model, model, "0" * 40, protocol(paper, number) | values, digests)


def without_files(name):
    """What is said of a paper beside its numbers, but for the digests of its files."""
    about = yaml.safe_load((ROOT / f"data/published/{name}.yaml").read_text())
    about.pop("data")
    for quantity in about["quantities"].values():
        quantity.pop("data", None)
    return about


def propensity(shift=0.0, behaviors=None, n=50, model="Llama-2-7b-chat"):
    """Our p_matching: the published ones of a model, moved by `shift`."""
    words = {"none": "none", "positive": "for", "negative": "against"}
    rows = [
        {
            "behavior": one.setting["behavior"],
            "system_prompt": words[one.setting["system_prompt"]],
            "multiplier": float(one.setting["multiplier"]),
            "p_matching": one.value + shift,
            "p_matching_low": one.value + shift - 0.1,
            "p_matching_high": one.value + shift + 0.1,
            "n": n,
        }
        for one in CAA.numbers
        if one.quantity == "p_matching" and one.model == model and "run" not in one.setting
    ]
    table = pd.DataFrame(rows)
    return table if behaviors is None else table[table["behavior"].isin(behaviors)]


def made(tables, of=None, papers=PAPERS):
    return verdict_tables(papers, of or study(), tables, INTERVAL)


def test_a_study_of_the_papers_model_and_protocol_is_held_against_each_of_its_numbers():
    table = made({"propensity": propensity(0.02)})["verdict"]
    assert list(table) == COLUMNS
    # 63 of this model and setting, and the earlier one of sycophancy; none of the other model
    assert len(table) == 64
    assert set(table["model"]) == {"Llama-2-7b-chat"}
    known = table[~table["setting"].str.contains("earlier")]
    assert set(known["verdict"]) == {"inside"}
    assert known["difference"].to_numpy() == pytest.approx(0.02)
    assert set(known["reason"]) == {""}
    assert (known["published_low"] < known["published"]).all()


def test_numbers_far_off_are_outside():
    table = made({"propensity": propensity(0.4)})["verdict"]
    assert (table["verdict"] == "outside").mean() > 0.95


def test_a_number_that_the_study_does_not_compute_has_no_row():
    assert made({})["verdict"].empty
    table = made({"propensity": propensity(behaviors=["refusal"])})["verdict"]
    assert len(table) == 9
    assert table["setting"].str.contains("refusal").all()
    others = propensity(behaviors=["refusal"]).assign(behavior="optimism")
    assert made({"propensity": others})["verdict"].empty


def reasons_of(tables, of):
    table = made(tables, of)["verdict"]
    assert set(table["verdict"]) == {"not comparable"}
    return table["reason"].iloc[0].split("; ")


def test_another_model_is_the_first_reason_and_says_both():
    tables = {"propensity": propensity(behaviors=["refusal"])}
    first, *more = reasons_of(
        tables, study(model="", **{"steering.positions": "response", "steering.layer": 3})
    )
    assert first.startswith(f"model: the paper's {LLAMA}, ours ")
    # the block is the other model's
    assert more == ["steering.positions: response, the paper's turn"]
    # the paper has another model: its numbers of both have rows
    table = made(tables, study(model=""))["verdict"]
    assert set(table["model"]) == {"Llama-2-7b-chat", "Llama-2-13b-chat"}


def test_items_protocol_and_missing_intervals_are_reasons_too():
    tables = {"propensity": propensity(behaviors=["refusal"], n=30)}
    found = reasons_of(tables, study(**{"steering.layer": "auto", "steering.normalize": False}))
    assert found[0] == "n: 30, the paper's 50"
    assert "steering.layer: auto, the paper's 13" in found
    assert "steering.normalize: false, the paper's true" in found
    bare = propensity(behaviors=["refusal"]).assign(p_matching_low=None, p_matching_high=None)
    (reason,) = reasons_of({"propensity": bare}, study())
    assert reason.startswith("interval: ")


def test_a_file_of_other_content_and_another_commit_are_reasons(tmp_path):
    about = without_files("caa-2023")
    about["data"] = {"refusal": {"behaviors.refusal.splits.test": "ab" * 32}}
    about["models"]["Llama-2-7b-chat"]["revision"] = "1" * 40
    (tmp_path / "caa.yaml").write_text(yaml.safe_dump(about))
    paper = read_paper(ROOT / "data/published/caa-2023.csv", tmp_path / "caa.yaml", REGISTRY)
    tables = {"propensity": propensity(behaviors=["refusal", "sycophancy"])}
    none = replace(study(), digests={})
    table = made(tables, none, {"caa": paper})["verdict"].set_index("setting")
    commit = f"revision: the paper's {'1' * 40}, ours {'0' * 40}"
    data = "data: behaviors.refusal.splits.test is none, the paper's abababababab"
    refusal = table[table.index.str.contains("refusal")]["reason"]
    assert set(refusal) == {f"{commit}; {data}"}
    assert set(table[~table.index.str.contains("refusal")]["reason"]) == {commit}
    about["models"]["Llama-2-7b-chat"]["revision"] = "0" * 40
    (tmp_path / "caa.yaml").write_text(yaml.safe_dump(about))
    paper = read_paper(ROOT / "data/published/caa-2023.csv", tmp_path / "caa.yaml", REGISTRY)
    same = replace(study(), digests={"behaviors.refusal.splits.test": "ab" * 32})
    assert "not comparable" not in set(made(tables, same, {"caa": paper})["verdict"]["verdict"])


def test_a_quantitys_own_files_are_reasons_for_its_numbers_alone(tmp_path):
    about = without_files("caa-2023")
    file, vector = "steering.benchmarks.sets.mmlu.file", "behaviors.sycophancy.splits.train"
    about["data"] = {"sycophancy": {vector: "ab" * 32}}
    about["quantities"]["mmlu"]["data"] = {"": {file: "cd" * 32}}
    (tmp_path / "caa.yaml").write_text(yaml.safe_dump(about))
    paper = read_paper(ROOT / "data/published/caa-2023.csv", tmp_path / "caa.yaml", REGISTRY)
    assert data_keys([paper]) == [vector, file]
    none = replace(study(), digests={})
    table = made({"benchmarks": benchmarks()}, none, {"caa": paper})["verdict"]
    found = table.set_index(["quantity", "setting"])["reason"].str.findall(r"data: (\S+)").to_dict()
    of_behavior = "behavior=sycophancy; multiplier=1"
    assert found["mmlu", "multiplier=0"] == [file]
    assert set(found["mmlu", of_behavior]) == {file, vector}
    assert found["truthfulqa", of_behavior] == [vector]


def test_what_raw_data_is_known_by(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    empty = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    assert pinned(str(tmp_path / "a.json")) == empty
    assert pinned({"url": "https://x.org/a", "sha256": "ab" * 32}) == "ab" * 32
    github = {"repo": "a/b", "commit": "1" * 40, "path": "c.json", "sha256": "cd" * 32}
    assert pinned({"github": github}) == "cd" * 32
    hub = {"id": "a/b", "revision": "1" * 40, "file": "c.json"}
    assert pinned({"hub": hub}) == "a/b@1111111: c.json"


def test_only_a_model_of_the_hub_can_be_a_papers_model():
    hub = {"name": "x", "source": "hub", "hub": {"id": LLAMA, "revision": "1" * 40}}
    assert named_model(hub) == {"model": LLAMA, "id": LLAMA, "revision": "1" * 40}
    folder = {"name": "x", "source": "path", "path": "/x", "hub": hub["hub"]}
    assert named_model(folder) == {"model": "x (a folder)", "id": "", "revision": ""}
    wheel = {"name": "x", "source": "wheel", "wheel": {"package": "w", "version": "1.0"}}
    assert named_model(wheel)["model"] == "x (w 1.0)"


def benchmarks():
    rows = itertools.product(
        ("mmlu", "truthfulqa"), ("mean of categories", ""), ("letters", "answers"),
        (("behavior", 1.0), ("behavior", -1.0), ("unsteered", 0.0), ("random-0", 1.0)),
    )  # fmt: skip
    found = pd.DataFrame(
        [(one, category, contrast, *how) for one, category, contrast, how in rows],
        columns=["benchmark", "category", "contrast", "direction", "multiplier"],
    )
    place = np.arange(len(found)) / 100
    # what an empty cell is once it was written and read
    found["category"] = found["category"].replace("", None)
    return found.assign(
        behavior="sycophancy",
        n=9,
        p_correct=place,
        p_correct_low=place - 0.1,
        p_correct_high=place + 0.1,
    )


def test_of_a_benchmark_the_mean_of_categories_under_the_behaviours_vector_counts():
    table = made({"benchmarks": benchmarks()})["verdict"].set_index(["quantity", "setting"])
    ours = table["ours"].to_dict()
    assert ours == {
        ("mmlu", "multiplier=0"): 0.02,
        ("mmlu", "behavior=sycophancy; multiplier=1"): 0.0,
        ("mmlu", "behavior=sycophancy; multiplier=-1"): 0.01,
        ("truthfulqa", "behavior=sycophancy; multiplier=1"): 0.16,
        ("truthfulqa", "behavior=sycophancy; multiplier=-1"): 0.17,
        ("truthfulqa", "behavior=sycophancy; multiplier=0"): 0.18,
    }
    assert (
        table["reason"]
        .str.contains(r"sets\.(?:mmlu|truthfulqa)\.form: none, the paper's caa")
        .all()
    )
    assert table.loc["mmlu", "reason"].str.startswith("n: 9, the paper's 570").all()


def test_several_numbers_of_one_setting_are_no_number():
    twice = pd.concat([benchmarks(), benchmarks().assign(behavior="refusal", p_correct=0.5)])
    table = made({"benchmarks": twice})["verdict"].set_index(["quantity", "setting"])
    row = table.loc[("mmlu", "multiplier=0")]
    assert np.isnan(row["ours"])
    assert row["reason"].endswith("rows: 2 of this study's numbers have this setting")


def lookups():
    generator = np.random.default_rng(0)
    scores = pd.DataFrame(
        {
            "layer": np.repeat([3, 4], 60),
            "neuron": np.arange(120) // 3,
            "kind": np.tile(["next_token"] * 3 + ["random"] * 3, 20),
            "score": generator.uniform(0.4, 0.8, 120),
        }
    )
    scores.loc[::7, "score"] = None
    ablations = pd.DataFrame(
        {"ablated": ["head", "head", "neuron"], "neurons": ["next_token", "random", "next_token"]}
    ).assign(measure="probability", ks=[0.3, 0.1, 0.9], ks_n=100, ks_n_active=90, ks_n_inactive=80)
    both = pd.concat([ablations, ablations.assign(measure="logprob", ks=None)])
    return {"lookups_explanation_scores": scores, "lookups_ablations": both}


def test_explanation_scores_are_means_over_heads_with_intervals_over_neurons():
    tables = lookups()
    table = made(tables)["verdict"]
    scores = tables["lookups_explanation_scores"].dropna()
    here = scores[scores["kind"] == "next_token"]
    mean, low, high = stats.clustered_interval(
        here["score"].to_numpy(), here["neuron"].to_numpy(), INTERVAL
    )
    (row,) = table[(table["model"] == "Pythia-160m")].to_dict("records")
    assert [row[name] for name in ("ours", "low", "high")] == [
        *(pytest.approx(float(one)) for one in (mean, low, high))
    ]
    assert row["n"] == len(here)
    (random,) = table[table["setting"] == "neurons=random"].to_dict("records")
    assert random["ours"] != row["ours"]
    # both runs of the score that the paper's notebook has, but not its middle blocks
    runs = table[(table["model"] == "GPT-2 large") & (table["quantity"] == "explanation_score")]
    assert sorted(runs["published"]) == [0.558, 0.575, 0.602]


def test_a_ks_statistic_is_that_of_heads_with_an_interval_by_the_samples_sizes():
    table = made(lookups())["verdict"]
    (row,) = table[
        (table["quantity"] == "ablation_ks") & (table["model"] == "GPT-2 small")
    ].to_dict("records")
    assert (row["ours"], row["n"]) == (0.3, 100)
    assert row["high"] - 0.3 == pytest.approx(1.959964 * np.sqrt(1 / 360 + 1 / 320))


def test_neo_of_the_same_model_is_told_only_what_no_study_here_can_have():
    of = study(NEO, "explanation_score", "openai-community/gpt2")
    table = made(lookups(), of)["verdict"]
    assert set(table["model"]) == {"GPT-2 small"}
    (reason,) = set(table[table["quantity"] == "explanation_score"]["reason"])
    assert reason.startswith("test prompts: ")


def test_without_the_published_n_our_interval_decides_alone_and_the_reason_says_so():
    paper = copy.deepcopy(NEO)
    paper.differs.clear()
    of = study(NEO, "explanation_score", "openai-community/gpt2")
    table = made(lookups(), of, {"neo-2024": paper})["verdict"]
    (row,) = table[table["setting"] == "neurons=next_token"].query(
        "quantity == 'explanation_score'"
    ).to_dict("records")  # fmt: skip
    assert row["verdict"] == ("inside" if row["low"] <= 0.65 <= row["high"] else "outside")
    assert "not known" in row["reason"]


def test_counts_by_paper_add_up():
    found = made({"propensity": propensity(0.2), **lookups()})
    counts = found["verdict_counts"].set_index("paper")
    assert list(counts.index) == [*PAPERS, "all"]
    parts = counts[["inside", "outside", "not_comparable"]]
    assert (parts.sum(axis=1) == counts["numbers"]).all()
    assert (counts.drop("all").sum() == counts.loc["all"]).all()
    assert counts.loc["all", "numbers"] == len(found["verdict"])
    assert counts.loc["neo-2024", "not_comparable"] == counts.loc["neo-2024", "numbers"] > 0
    empty = counted(found["verdict"].iloc[:0], [])
    assert empty.to_dict("records") == [
        {"paper": "all", "numbers": 0, "inside": 0, "outside": 0, "not_comparable": 0}
    ]


# papers of one's own


OWN = """quantity,model,setting,value,sd,n,unit,source,commit
sugar,Tiny,tea=green,3,,,spoons,a.txt,0123abc
sugar,Tiny,tea=black,4,0.5,16,spoons,a.txt,0123abc
"""
ABOUT = """
title: Someone 2025
source: a preprint
models: {Tiny: {id: [someone/tiny]}}
units: {spoons: [0, 10]}
quantities:
  sugar:
    unit: spoons
    error: mean
    keys: {tea: {column: kind}}
    ours: {table: cups, value: mean, low: low, high: high}
    protocol: {seed: 5}
"""


def own_paper(folder, about=ABOUT):
    (folder / "own.csv").write_text(OWN)
    (folder / "own.yaml").write_text(about)
    return {"numbers": str(folder / "own.csv"), "about": str(folder / "own.yaml")}


def test_a_paper_of_ones_own_brings_its_own_quantity_and_unit(tmp_path):
    files = own_paper(tmp_path)
    paper = read_paper(files["numbers"], files["about"], REGISTRY)
    cups = pd.DataFrame({"kind": ["green", "black"], "mean": 3.5, "low": 3.4, "high": 3.6})
    of = Study("someone/tiny", "someone/tiny", "", {"seed": 5}, {})
    table = verdict_tables({"own": paper}, of, {"cups": cups}, INTERVAL)["verdict"]
    # green has no n, and black 4 ± 0.245 of its own
    assert list(table["verdict"]) == ["outside", "outside"]
    assert list(table["unit"]) == ["spoons"] * 2
    near = cups.assign(mean=3.7, low=3.6, high=3.9)
    table = verdict_tables({"own": paper}, of, {"cups": near}, INTERVAL)["verdict"]
    assert list(table["verdict"]) == ["outside", "inside"]
    elsewhere = verdict_tables({"own": paper}, replace(of, values={}), {"cups": near}, INTERVAL)
    assert set(elsewhere["verdict"]["reason"]) == {"seed: none, the paper's 5"}
    assert tables_wanted([paper]) == ["cups"]


def test_a_column_that_the_table_lacks_is_named(tmp_path):
    files = own_paper(tmp_path)
    paper = read_paper(files["numbers"], files["about"], REGISTRY)
    of = Study("", "", "", {}, {})
    with pytest.raises(UserError, match=r"own\.csv, line 2: .* the table cups has no column kind"):
        verdict_tables({"own": paper}, of, {"cups": pd.DataFrame({"mean": [1]})}, INTERVAL)


def test_the_configuration_chooses_papers(tmp_path):
    files = own_paper(tmp_path)
    verdict_of = {"papers": None, "published": {"own": files}}
    assert list(papers_of(verdict_of)) == [*PAPERS, "own"]
    assert list(papers_of(verdict_of | {"papers": ["own", "caa-2023"]})) == ["own", "caa-2023"]
    assert papers_of(verdict_of | {"papers": []}) == {}


def config_with(**verdict_of):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    return config | {"verdict": verdict_of}


@pytest.mark.parametrize(
    ("verdict_of", "message"),
    [
        ({"papers": ["caa-2032"]}, r"verdict\.papers\[0\]: 'caa-2032' .*did you mean 'caa-2023'"),
        (
            {"published": {"caa-2023": {"numbers": "a.csv", "about": "a.yaml"}}},
            r"verdict\.published\.caa-2023: is the name of a paper",
        ),
        (
            {"published": {"own": {"numbers": "a.csv", "about": "a.yaml"}}},
            r"verdict\.published\.own\.numbers: no file at a\.csv",
        ),
        ({"published": {"own": {"numbers": "a.csv"}}}, r"'verdict\.published\.own\.about' is miss"),
    ],
)
def test_a_paper_that_is_not_there_is_named(verdict_of, message):
    with pytest.raises(UserError, match=message):
        validated(config_with(**verdict_of), ROOT / "config.schema.yaml")


# figure, report, manuscript, rule


@pytest.mark.parametrize("n", mostly_long([0, 1, 12, 29, 31, 80, 140, 150], 0, 31, 150))
def test_the_figure_shows_every_number_once_and_stays_a_page(n):
    many = made({"propensity": propensity(0.2), **lookups()}, study(model=""))["verdict"]
    many = pd.concat([many, many.assign(paper="other")])
    table = many.iloc[:n]
    figure = drawn(readable(table), counted(table, ["caa-2023", "neo-2024", "other"]))
    figure.draw_without_rendering()
    assert figure.get_figheight() <= 10.8
    rows = [name.get_text() for ax in figure.axes if ax.axison for name in ax.get_yticklabels()]
    assert len(rows) == n
    sizes = [name.get_size() for ax in figure.axes for name in ax.get_yticklabels()]
    assert not sizes or min(sizes) >= 4.4
    renderer = figure.canvas.get_renderer()
    left = [
        name.get_window_extent(renderer).x0
        for ax in figure.axes
        if ax.axison
        for name in ax.get_yticklabels()
    ]
    assert all(place > 0 for place in left), "names run out of the page"
    plt.close(figure)


def test_names_of_rows_do_not_run_into_the_panel_beside():
    table = made({"propensity": propensity(0.2), **lookups()}, study(model=""))["verdict"]
    figure = drawn(readable(table), counted(table, list(PAPERS)))
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = [ax.get_window_extent(renderer) for ax in figure.axes]
    for ax in figure.axes:
        for name in ax.get_yticklabels():
            box = name.get_window_extent(renderer)
            assert not any(box.overlaps(other) for other in boxes), name.get_text()
    plt.close(figure)


def test_the_manuscript_prints_the_verdict_and_may_name_its_counts(tmp_path):
    found = made({"propensity": propensity(0.02, behaviors=["refusal"]), **lookups()})
    own = tmp_path / "my.typ"
    own.write_text(
        '#import "/template.typ": *\n#num("verdict_counts.all.inside") of '
        '#num("verdict_counts.all.numbers").\n#verdicts("steering")\n#verdicts("lookups")\n'
    )
    text = said(tmp_path, found, manuscript=str(own))
    counts = found["verdict_counts"].set_index("paper").loc["all"]
    assert f"{counts['inside']} of {counts['numbers']}." in text
    assert "9 published numbers that this study computes, 9 lie inside" in text
    assert "not comparable: model: the paper’s openai-community/gpt2" in text.replace("'", "’")
    assert "more in tables/verdict.csv" in text


@pytest.mark.workflow
def test_the_rule_asks_for_the_tables_that_the_papers_need_and_reads_their_files(tmp_path):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    files = own_paper(tmp_path)
    config["verdict"] = {"papers": ["neo-2024", "own"], "published": {"own": files}}
    rule = rules_of(tmp_path, config)["verdict"]
    names = {name for name in rule["input"] if name.startswith("lookups_")}
    assert names == {"lookups_ablations", "lookups_explanation_scores"}
    assert not [name for name in rule["input"] if name == "steerability"]
    assert sorted(rule["input"]["own"]) == sorted(files.values())
    settings = rule["params"]["settings"]
    assert settings["papers"] == ["neo-2024", "own"]
    assert settings["values"]["seed"] == config["seed"]
    assert settings["values"]["lookups.top"] == config["lookups"]["top"]
    assert len(settings["data"]["own.numbers"]) == 16


def test_the_default_studys_own_model_is_no_papers_model():
    config = default_config()
    model = named_model(config["model"])
    of = Study(**model, values={}, digests={})
    table = made(lookups(), of)["verdict"]
    assert len(table) == 12
    assert set(table["verdict"]) == {"not comparable"}
    assert table["reason"].str.startswith("model: ").all()


def front_page(folder, made_tables):
    """The report's first page, as Snakemake renders it, for some tables."""
    for name, table in made_tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    for_captions({name: measure.text for name, measure in MEASURES.items()}, 8)
    tables = [str(folder / f"{name}.csv") for name in made_tables]
    job = SimpleNamespace(input=SimpleNamespace(tables=tables))
    files = [SimpleNamespace(name="verdict_counts.html", job=job)]
    template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        (ROOT / "report/workflow.rst").read_text()
    )
    return template.render(snakemake={"config": default_config()}, files=files)


def test_the_reports_first_page_counts_by_paper_and_says_where_no_model_is_a_papers(tmp_path):
    page = front_page(tmp_path, made(lookups(), study(model="")))
    assert ":neo-2024: 0 inside, 0 outside, 12 not comparable" in page
    assert ":caa-2023: none of its numbers" in page
    assert "**Not comparable: model.**" in page
    page = front_page(tmp_path, made({"propensity": propensity(0.02), **lookups()}))
    assert ":caa-2023: 64 inside, 0 outside, 0 not comparable" in page
    assert "**Not comparable" not in page
    assert "**Not comparable" not in front_page(tmp_path, made({}))
