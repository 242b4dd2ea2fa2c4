"""Fixed completions: exact log-probabilities, the same samples in any batch, honest summaries."""

import numpy as np
import pandas as pd
import plain
import pytest
from conftest import ROOT

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, complete, sample_sequences
from steerpaper.engine.score import score_completions
from steerpaper.stats import Interval
from steerpaper.steering.completions import fixed_requests, sample_plan
from steerpaper.steering.fixed_completions import completion_rows, forms, logprob_rows, tally
from steerpaper.steering.items import read_items
from steerpaper.steering.labels import LABELS, answered_letter, label_by_letter, label_by_markers
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.steering.tables.completions import label_shares
from steerpaper.steering.tables.fixed_completions import (
    logprob_table,
    of_behavior,
    prompt_totals,
)
from steerpaper.workflow.files import read_table_parts, table_writer

INTERVAL = Interval(seed=1, resamples=2000, confidence=0.95)
BLOCKS = {contrast: {"layer": 1, "layers": [1]} for contrast in ("answers", "letters")}


def make_conditions(positions="response"):
    return [
        Condition((1,), "behavior", 1.0, positions=positions),
        Condition((1,), "behavior", -2.0, positions=positions),
        Condition((2,), "random-0", 0.5, positions=positions),
        Condition((0, 3), "behavior", 0.7, positions=positions),
    ]


def make_prompts(lm, n=3, contrast="answers"):
    items = read_items(ROOT / "data/behaviors/optimism.jsonl")[:n]
    options = {"behavior": "optimism", "split": "test", "system": None, "seed": 1}
    prompts = serialize(lm.tokenizer, items, contrast=contrast, context=lm.context, **options)
    return as_rows(prompts)


def make_vectors(lm):
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal((lm.n_layers, lm.width))
        for name in ("behavior", "random-0")
    }


def sample(lm, prompts, samples, budget, chosen=None):
    requests = [
        request
        for prompt in prompts
        for request in fixed_requests(prompt, prompt["ids"], "free", samples=samples, seed=3)
    ]
    requests = requests if chosen is None else [requests[number] for number in chosen]
    return sample_sequences(lm, requests, {}, Decoding(6, 1.0, 1.0, budget))


def collect(lm, prompts, completions, vectors, positions, budget):
    conditions = make_conditions(positions)
    found = np.full((len(completions), 1 + len(conditions)), np.nan)
    for batch, values in score_completions(
        lm, [prompt["ids"] for prompt in prompts], completions, vectors, conditions, budget=budget
    ):
        assert np.isnan(found[batch]).all()  # none comes twice
        found[batch] = values
    return found


def plain_logprobs(lm, prompts, completion, vectors, positions):
    """Unsteered and under every condition, by full forward passes."""
    text, ids = prompts[completion[0]]["ids"], list(completion[1])
    expected = [plain.logprob(lm, text, ids)]
    for condition in make_conditions(positions):
        changes = plain.steering(condition, vectors, len(text) + len(ids), len(text) - 1)
        expected.append(plain.logprob(lm, text, ids, changes))
    return expected


@pytest.mark.parametrize("positions", ["response", "last", "all"])
def test_completion_logprobs_equal_plain_forward_passes(lm, positions):
    prompts, vectors = make_prompts(lm), make_vectors(lm)
    sequences = sample(lm, prompts, 3, 1000)
    completions = [(number // 3, ids) for number, ids in enumerate(sequences)]
    # an end of sequence is a token like any other
    completions.append((1, [*sequences[0][:2], lm.tokenizer.eos_token_id]))
    ours = collect(lm, prompts, completions, vectors, positions, 200)
    for completion, found in zip(completions, ours, strict=True):
        expected = plain_logprobs(lm, prompts, completion, vectors, positions)
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("positions", ["response", "last", "all"])
def test_completion_logprobs_are_the_same_to_the_bit_for_any_budget_and_order(lm, positions):
    prompts, vectors = make_prompts(lm), make_vectors(lm)
    sequences = sample(lm, prompts, 2, 1000)
    completions = [(number // 2, ids) for number, ids in enumerate(sequences)]
    completions += [(2, sequences[0][:1]), (0, sequences[0][:3])]  # of other lengths
    one = collect(lm, prompts, completions, vectors, positions, 1)
    for budget in (100, 10_000):
        other = collect(lm, prompts, completions, vectors, positions, budget)
        np.testing.assert_array_equal(one, other)
    backwards = collect(lm, prompts, completions[::-1], vectors, positions, 300)[::-1]
    np.testing.assert_array_equal(one, backwards)
    # one of a prompt's completions without the others
    some = collect(lm, prompts, completions[::4], vectors, positions, 300)
    np.testing.assert_array_equal(one[::4], some)


def test_unsteered_samples_do_not_depend_on_budget_order_or_shard(lm):
    prompts = make_prompts(lm)
    together = sample(lm, prompts, 5, 10_000)
    assert together == sample(lm, prompts, 5, 20)
    assert together[::-1] == sample(lm, prompts, 5, 300, chosen=range(14, -1, -1))
    assert together[5:10] == sample(lm, prompts, 5, 10_000, chosen=range(5, 10))
    assert len(set(map(tuple, together))) > 10


@pytest.mark.long
def test_the_default_models_logprobs_and_samples_hold_too(default_model):
    lm = default_model
    prompts, vectors = make_prompts(lm, 2), make_vectors(lm)
    vectors = {name: vector * 0.3 for name, vector in vectors.items()}
    sequences = sample(lm, prompts, 4, 2000)
    assert sequences == sample(lm, prompts, 4, 60)
    completions = [(number // 4, ids) for number, ids in enumerate(sequences)]
    ours = collect(lm, prompts, completions, vectors, "response", 500)
    for number in (0, 3, 6):
        expected = plain_logprobs(lm, prompts, completions[number], vectors, "response")
        np.testing.assert_allclose(ours[number], expected, atol=1e-3)


def test_sequences_keep_the_end_token_and_completions_do_not(load_tiny):
    lm = load_tiny("llama")
    prompt = make_prompts(lm, 1)[0]
    requests = fixed_requests(prompt, prompt["ids"], "free", samples=60, seed=1)
    decoding = Decoding(40, 1.0, 1.0, 4000)
    sequences = sample_sequences(lm, requests, {}, decoding)
    ended = [ids for ids in sequences if ids[-1] in lm.ends]
    assert ended
    assert all(len(ids) == 40 for ids in sequences if ids not in ended)
    completions = complete(lm, requests, {}, decoding)
    assert completions == [ids[:-1] if ids[-1] in lm.ends else ids for ids in sequences]


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_steering_holds_at_every_generated_step(load_tiny, name):
    lm = load_tiny(name)
    prompt, token = make_prompts(lm, 1)[0]["ids"], 123
    unembedding = lm.nn._module.get_output_embeddings().weight.detach()
    vector = np.zeros((lm.n_layers, lm.width))
    vector[-1] = (unembedding[token] - unembedding.mean(0)).numpy()
    last = lm.n_layers - 1
    requests = {
        positions: [
            Request(prompt, Condition((last,), "v", 1000.0, positions=positions), stream)
            for stream in (None, ("s", 1))
        ]
        for positions in ("response", "last")
    }
    decoding = Decoding(6, 0.01, 1.0, 1000)
    always = complete(lm, requests["response"], {"v": vector}, decoding)
    once = complete(lm, requests["last"], {"v": vector}, decoding)
    assert len({tuple(ids) for ids in always}) == 1
    assert len(set(always[0])) == 1
    assert len(always[0]) == 6
    assert all(ids[0] == always[0][0] and len(set(ids)) > 1 for ids in once)


def test_a_sample_is_named_by_what_it_is_a_sample_of():
    plans = [
        sample_plan(
            {"p": [1], "q": [2]},
            layers=layers,
            multipliers=[0, 1],
            samples=2,
            seed=7,
            behavior="b",
            positions="last",
        )
        for layers in ((3,), (3, 4))
    ]
    single, several = ([request.stream for _, request in plan] for plan in plans)
    assert (7, "completion", "b", "q", 3, 1.0, 1) in single
    assert (7, "completion", "b", "q", (3, 4), 1.0, 1) in several
    # the unsteered samples are the same whatever is steered
    assert (7, "completion", "b", "q", -1, 0.0, 1) in set(single) & set(several)
    named = [name for name in single if name]
    assert len(named) == len(set(named)) == 8
    # and steered as the row says
    for row, request in plans[1]:
        steered = Condition((3, 4), "behavior", row["multiplier"], positions="last")
        assert request.condition == (steered if row["multiplier"] else None)


def test_identical_completions_are_counted():
    assert tally([[1, 2], [3], [1, 2]]) == [((1, 2), 2), ((3,), 1)]


def test_letters_are_asked_for_behind_a_bracket_and_without_one(load_tiny):
    lm = load_tiny("llama")
    (prompt,) = make_prompts(lm, 1, "letters")
    asked = forms(prompt)
    assert list(asked) == ["prefilled", "free"]
    assert lm.tokenizer.decode(asked["prefilled"]) == prompt["text"]
    assert lm.tokenizer.decode(asked["free"]) + "(" == prompt["text"]
    (answers,) = make_prompts(lm, 1, "answers")
    assert forms(answers) == {"free": answers["ids"]}
    # neither draws what the other draws
    streams = [
        [r.stream for r in fixed_requests(prompt, ids, form, samples=3, seed=1)]
        for form, ids in asked.items()
    ]
    assert not set(streams[0]) & set(streams[1])


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_a_prompts_completions_are_labelled_and_counted(load_tiny, contrast):
    tokenizer = load_tiny("llama").tokenizer
    (prompt,) = make_prompts(load_tiny("llama"), 1, contrast)
    end = tokenizer.eos_token_id
    said = [tokenizer(text)["input_ids"] for text in (prompt["matching"], "neither", "hope")]
    sequences = [said[0], [*said[1], end], [*said[2], end], said[2], said[0]]
    about = {"markers": {"matching": ["hope"]}, "negators": None}
    form = next(iter(forms(prompt)))
    assert form == ("prefilled" if contrast == "letters" else "free")
    rows = completion_rows(tokenizer, prompt, form, sequences, about, ends=frozenset([end]), seed=4)
    assert [row["count"] for row in rows] == [2, 1, 1, 1]
    assert [row["ids"] for row in rows] == sequences[:4]
    assert [row["finished"] for row in rows] == [False, True, True, False]
    assert [row["text"] for row in rows][:3] == [prompt["matching"], "neither", "hope"]
    # of letters the letter counts; of answers the markers, if the last word is whole
    labels = [row["label"] for row in rows]
    if contrast == "letters":
        assert labels == ["matching", "neither", "neither", "neither"]
    else:
        assert labels[1:] == ["neither", "matching", "neither"]
    assert {(row["prompt_id"], row["contrast"], row["seed"]) for row in rows} == {
        (prompt["id"], contrast, 4)
    }


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A) The first", "matching"),
        ("B)", "other"),
        ("A", "matching"),
        ("The answer is (B).", "other"),
        ("I choose B: it", "other"),
        ("A) or B)", "matching"),
        ("It was A good day", "neither"),
        ("About Bees", "neither"),
        ("", "neither"),
    ],
)
def test_letters_label_a_completion(text, label):
    assert label_by_letter(text, ("A", "B"), "AB", prefilled=True) == label
    flipped = {"matching": "other", "other": "matching"}.get(label, label)
    assert label_by_letter(text, ("B", "A"), "AB", prefilled=True) == flipped


@pytest.mark.parametrize(
    ("text", "letter", "behind_a_bracket"),
    [
        ("A good day", None, "A"),
        ("A", "A", "A"),
        ("B\nBecause", "B", "B"),
        ("(B) Of course", "B", "B"),
        ("I would choose A because", "A", "A"),
        ("I'd go with B, since", "B", "B"),
        ("It is **A** for me", "A", "A"),
        ("Answer: B", "B", "B"),
        ("The answer is A", "A", "A"),
        ("A is better than (B)", "B", "A"),
        ("As I said", None, None),
    ],
)
def test_a_free_answer_that_begins_with_an_article_is_no_letter(text, letter, behind_a_bracket):
    assert answered_letter(text, prefilled=False) == letter
    assert answered_letter(text, prefilled=True) == behind_a_bracket


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Don't worry about it", "neither"),
        ("I worry", "other"),
        ("No doubt.", "neither"),
        ("No doubt it will be hopeful", "matching"),
        ("Not hopeless at all", "neither"),
        ("I have never been worried", "neither"),
        ("without fear", "neither"),
        ("There is nothing to fear", "neither"),
        ("Not only hopeful, but better", "matching"),
        ("I do not think it will fail", "neither"),
        # another clause
        ("It is not bad, but I worry", "other"),
        ("Why not? I worry", "other"),
        # a marker's own words take nothing back
        ("I can't wait to go", "matching"),
        ("It is hopeful - no fear", "matching"),
        ("I never fail to be hopeful", "matching"),
        ("I couldn't be more hopeful", "matching"),
        ("Aren't you hopeful?", "matching"),
        ("I'm sure you aren't hopeful", "neither"),
        ("Don't you worry", "neither"),
        ("No-one is hopeful", "neither"),
        # as typesetters write apostrophes
        ("Don\u2019t worry about it", "neither"),
        ("I can\u2019t wait to go", "matching"),
    ],
)
def test_a_negated_marker_counts_for_neither_side(text, label):
    markers = {
        "matching": ["hopeful", "better", "can't wait"],
        "other": ["worry", "worried", "doubt", "hopeless", "fear", "fail"],
    }
    assert label_by_markers(text, markers, finished=True) == label


def test_a_behaviour_may_have_negators_of_its_own_or_none():
    markers = {"matching": ["espoir"], "other": ["worry"]}
    said = {"finished": True, "negators": ["sans", "pas"]}
    assert label_by_markers("sans espoir", markers, **said) == "neither"
    assert label_by_markers("no worry", markers, **said) == "other"
    assert label_by_markers("don't worry", markers, finished=True, negators=[]) == "other"


@pytest.mark.parametrize(
    ("text", "finished", "label"),
    [
        ("I am full of hope today", False, "matching"),
        ("I am full of hope", True, "matching"),
        ("I am full of hope", False, "neither"),  # may go on as "hopeless"
        ("Hopeless, and grim.", True, "other"),
        ("Hope and doom", True, "neither"),
        ("hope, hope and doom", True, "matching"),
        ("nothing of the kind", True, "neither"),
        ("", True, "neither"),
    ],
)
def test_markers_label_a_completion(text, finished, label):
    markers = {"matching": ["hope"], "other": ["Hopeless", "grim", "doom"]}
    assert label_by_markers(text, markers, finished=finished) == label


def test_shares_of_labels_are_counted_by_multiplier_and_decoding():
    samples = pd.DataFrame(
        [
            ("p", -1, 0.0, "greedy", 0, "hope it is."),
            ("p", -1, 0.0, "sample", 0, "hope it is."),
            ("p", -1, 0.0, "sample", 1, "doom it is."),
            ("q", -1, 0.0, "greedy", 0, "it is."),
            ("q", -1, 0.0, "sample", 0, "hope it is."),
            ("q", -1, 0.0, "sample", 1, "hope it is."),
        ],
        columns=["prompt_id", "layer", "multiplier", "decoding", "sample", "text"],
    )
    about = {"markers": {"matching": ["hope"], "other": ["doom"]}, "negators": None}
    table = label_shares(samples, about, {}, interval=INTERVAL)
    table = table.set_index("decoding")
    assert table["matching"].to_dict() == {"average": 0.75, "greedy": 0.5, "single seed": 1.0}
    assert table["other"].to_dict() == {"average": 0.25, "greedy": 0.0, "single seed": 0.0}
    assert table["n"].to_dict() == {"average": 4, "greedy": 2, "single seed": 2}
    assert (table["n_prompts"] == 2).all()
    # of two prompts there is none
    assert table.filter(regex="_(low|high)$").isna().all(axis=None)
    named = [f"p{number}" for number in range(8)]
    more = [samples.assign(prompt_id=samples["prompt_id"] + name) for name in named]
    table = label_shares(pd.concat(more), about, {}, interval=INTERVAL).set_index("decoding")
    assert table.loc["single seed", "matching"] == 1
    assert 0.7 < table.loc["single seed", "matching_low"] < 1
    row = table.loc["average"]
    assert row["difference_low"] < row["difference"] == 0.5 < row["difference_high"]


def made_rows(labels, counts, prompts, changes):
    """Rows as `logprob_rows` makes them; the change under the first condition is given."""
    completions = pd.DataFrame(
        {
            "behavior": "b",
            "contrast": "answers",
            "form": "free",
            "prompt_id": prompts,
            "side": None,
            "completion_id": range(len(labels)),
            "label": labels,
            "count": counts,
        }
    )
    logprobs = np.stack([np.full(len(labels), -10.0), -10 + np.array(changes)], axis=1)
    return logprob_rows(completions, make_conditions()[:1], logprobs)


def test_summary_weighs_completions_by_their_count():
    rows = made_rows(
        ["matching", "matching", "matching", "other", "other", "neither"],
        [3, 1, 2, 1, 1, 5],
        ["p", "p", "q", "p", "q", "q"],
        [1.0, 2.0, 4.0, -1.0, -2.0, 0.5],
    )
    # in parts that cut through a prompt
    totals = prompt_totals([rows.iloc[:3], rows.iloc[3:]])
    table = logprob_table(totals, LABELS, "difference", INTERVAL)
    at = table[table["multiplier"] == 1].set_index("label")
    assert at.loc["matching", "change"] == pytest.approx((3 * 1 + 2 + 2 * 4) / 6)
    assert at.loc["other", "change"] == pytest.approx(-1.5)
    assert at.loc["neither", "change"] == pytest.approx(0.5)
    assert at.loc["difference", "change"] == pytest.approx(13 / 6 + 1.5)
    assert at.loc["matching", "logprob"] == pytest.approx(-10 + 13 / 6)
    assert at["n"].to_dict() == {"matching": 6, "other": 2, "neither": 5, "difference": 2}
    assert at["distinct"].to_dict() == {"matching": 3, "other": 2, "neither": 1, "difference": 2}
    assert at["n_prompts"].to_dict() == {"matching": 2, "other": 2, "neither": 1, "difference": 2}
    assert at.loc["matching", "share"] == pytest.approx(6 / 13)
    # of two prompts there is no interval
    assert at[["low", "high", "share_low"]].isna().all(axis=None)
    none = table[table["multiplier"] == 0]
    assert (none["change"] == 0).all()
    # and of several contrasts each by itself
    both = [rows.iloc[:3], rows.iloc[3:], rows.assign(contrast="letters")]
    every = of_behavior(both, BLOCKS, interval=INTERVAL)
    assert every["contrast"].tolist() == ["answers"] * len(table) + ["letters"] * len(table)
    for _, part in every.groupby("contrast"):
        pd.testing.assert_frame_equal(part[table.columns].reset_index(drop=True), table)


def test_letters_are_summed_up_by_letter_too_and_controls_are_a_band():
    generator = np.random.default_rng(0)
    labels = ["matching", "other"] * 8
    prompts = [f"p{number}" for number in range(8) for _ in range(2)]
    changes = generator.normal(size=16)
    rows = made_rows(labels, [2] * 16, prompts, changes)
    side = rows["prompt_id"].map({f"p{number}": "AB"[number % 2] for number in range(8)})
    rows = rows.assign(side=side, contrast="letters", form="prefilled")
    own = rows[rows["multiplier"] != 0]
    controls = [
        own.assign(direction=f"random-{number}", change=own["change"] * factor)
        for number, factor in enumerate((0.1, -0.2, 0.3))
    ]
    table = of_behavior([pd.concat([rows, *controls])], BLOCKS, interval=INTERVAL)
    at = table[(table["multiplier"] == 1) & (table["direction"] == "behavior")].set_index("label")
    of_a = [
        change
        for change, label, own in zip(changes, labels, side[::2], strict=True)
        if (label == "matching") == (own == "A")
    ]
    assert at.loc["A", "change"] == pytest.approx(np.mean(of_a))
    assert at.loc["A − B", "change"] == pytest.approx(at.loc["A", "change"] - at.loc["B", "change"])
    assert at.loc["A", "share"] == 0.5
    assert (at.loc["A", "n"], at.loc["A", "n_prompts"]) == (16, 8)
    # Student's t over eight prompts
    assert at["low"].notna().sum() == 6
    assert set(at["flags"].dropna()) == {"few items", ""}
    band = table[(table["direction"] == "random") & (table["label"] == "difference")]
    assert band["directions"].tolist() == [3]
    mean = at.loc["difference", "change"] * np.mean([0.1, -0.2, 0.3])
    assert band["change"].item() == pytest.approx(mean)
    assert band["low"].item() < mean < band["high"].item()


def test_a_label_without_completions_is_a_row_of_n_0():
    rows = made_rows(["matching", "neither"], [2, 1], ["p", "q"], [1.0, 0.0])
    table = logprob_table(prompt_totals([rows]), LABELS, "difference", INTERVAL)
    for label in ("other", "difference"):
        part = table[table["label"] == label]
        assert len(part) == 2
        assert (part["n"] == 0).all()
        assert part[["change", "low", "high"]].isna().all(axis=None)


def test_tables_written_in_parts_are_read_back_whole(tmp_path):
    rows = made_rows(["matching", "other"], [2, 1], ["p", "q"], [1.0, 0.0])
    with table_writer(tmp_path / "x.parquet") as append:
        append(rows.iloc[:1])
        append(rows.iloc[1:])
    columns = ["label", "prompt_id", "change"]
    read = pd.concat(read_table_parts(tmp_path / "x.parquet", columns))
    pd.testing.assert_frame_equal(read, rows[columns].reset_index(drop=True), check_dtype=False)


def test_a_table_that_fails_half_way_leaves_no_file(tmp_path):
    def write():
        with table_writer(tmp_path / "x.parquet") as append:
            append(pd.DataFrame({"a": [1]}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert not list(tmp_path.iterdir())
