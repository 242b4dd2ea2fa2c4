"""Train, dev and test share no question, and hold both sides equally where that is asked for."""

import json
import logging
from collections import Counter

import pytest
from conftest import ROOT
from hypothesis import assume, given
from hypothesis import strategies as st

from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.steering.items import Item, read_items
from steerpaper.steering.prompts import serialize
from steerpaper.steering.splits import own_splits, split_items

SIZES = {"train": 50, "dev": 10, "test": 20}
BEHAVIORS = sorted((ROOT / "data/behaviors").glob("*.jsonl"))


def split(items, sizes=SIZES, seed=1, behavior="a", balance=False):
    return split_items(items, sizes, seed, behavior, balance=balance)


@pytest.mark.parametrize("seed", [0, 1])
def test_splits_are_disjoint_and_depend_on_seed_and_behavior_alone(seed):
    items = read_items(BEHAVIORS[0])
    parts = split(items, seed=seed)
    ids = [{item.number for item in part} for part in parts.values()]
    assert [len(part) for part in ids] == [50, 10, 20]
    assert len(set.union(*ids)) == 80
    assert split(items, seed=seed) == parts
    assert split(items, seed=seed + 1) != parts
    assert split(items, seed=seed, behavior="b") != parts


@pytest.mark.parametrize("balance", [False, True])
def test_items_of_different_questions_are_dealt_in_the_order_of_one_permutation(balance):
    items = read_items(BEHAVIORS[0])
    order = [items[place] for place in stream(3, "split", "a").permutation(len(items))]
    parts = split(items, seed=3, balance=balance)
    assert [*parts["train"], *parts["dev"], *parts["test"]] == order[:80]


def of_groups(sizes):
    """Items in groups of one stem, as many as each size says, with different choices."""
    items = []
    for group, size in enumerate(sizes):
        for number in range(size):
            # choices that a file of the project's own format shows in the question
            question = f"Stem {group}?\n (A) choice {number}\n (B) none"
            items.append(Item(question, "a", "b", len(items), "file"))
    return items


def stem(item):
    return item.question.split("\n")[0].strip().casefold()


GROUPS = st.lists(st.integers(1, 6), min_size=6, max_size=25)


@given(groups=GROUPS, wanted=st.tuples(*[st.integers(2, 8)] * 3), seed=st.integers(0, 9))
def test_items_with_the_same_stem_never_stand_in_two_splits(groups, wanted, seed):
    items = of_groups(groups)
    sizes = dict(zip(SIZES, wanted, strict=True))
    # at most 5 of a group are over where a split is full
    assume(len(items) >= sum(wanted) + 3 * 5)
    parts = split(items, sizes, seed)
    assert {name: len(part) for name, part in parts.items()} == sizes
    stems = [{stem(item) for item in part} for part in parts.values()]
    assert sum(map(len, stems)) == len(set.union(*stems))
    numbers = [item.number for part in parts.values() for item in part]
    assert len(numbers) == len(set(numbers))


def test_groups_of_stems_are_cut_only_where_no_whole_one_fits(caplog):
    with caplog.at_level(logging.WARNING):
        parts = split(of_groups([2] * 30 + [1] * 40))
    assert not caplog.records
    assert sum(map(len, parts.values())) == 80
    with caplog.at_level(logging.WARNING):
        parts = split(of_groups([3] * 40))
    assert "4 items are in no split" in caplog.text
    assert [len(part) for part in parts.values()] == [50, 10, 20]


def test_a_stem_is_the_same_whatever_its_case_and_white_space(tmp_path):
    rows = [
        {
            "question": f"{question}\n\nChoices:\n (A) {number}\n (B) none",
            "answer_matching_behavior": "(A)",
            "answer_not_matching_behavior": "(B)",
        }
        for number, question in enumerate(["Which tea?", "which  TEA?"] + ["Which tea?"] * 4)
    ]
    (tmp_path / "items.json").write_text(json.dumps(rows))
    with pytest.raises(UserError, match=r"items that share a question stay in one split"):
        split(read_items(tmp_path / "items.json"), {"train": 2, "dev": 2, "test": 2})


def yes_no(yes, no):
    both = [("Yes", "No")] * yes + [("No", "Yes")] * no
    return [
        Item(f"Is it {number}?", *answers, number, "file", answers[0])
        for number, answers in enumerate(both)
    ]


def test_each_split_of_a_balanced_file_holds_as_many_yes_as_no(caplog):
    items = yes_no(70, 45)
    with caplog.at_level(logging.INFO):
        parts = split(items, balance=True)
    for name, size in SIZES.items():
        assert Counter(item.side for item in parts[name]) == {"Yes": size / 2, "No": size / 2}
    assert "Yes in 70 items and No in 45; 40 of each are dealt" in caplog.text
    # without being asked for, items come as they are dealt
    free = split(items)
    assert Counter(item.side for item in free["train"])["Yes"] > 25
    assert free == split([*yes_no(70, 45)])


def test_a_balanced_file_needs_enough_of_either_side():
    assert split(yes_no(40, 40), balance=True)
    with pytest.raises(UserError, match=r"Yes in 90 items and No in 39, but .* 40 of each"):
        split(yes_no(90, 39), balance=True)
    with pytest.raises(UserError, match=r"steering\.prompts\.split\.dev: 9 is odd"):
        split(yes_no(90, 90), {**SIZES, "dev": 9}, balance=True)
    assert split(yes_no(90, 90), {**SIZES, "dev": 9})


def own(files, sizes, *, seed=1, balance=False, bad_items="stop"):
    return own_splits(files, sizes, seed, "tea", balance=balance, bad_items=bad_items)


def asked(n, first=0):
    """Items of different questions, numbered from 1 as a file's are."""
    return [
        Item(f"Question {first + number}?", "a", "b", number, f"file {first}, line {number}")
        for number in range(1, n + 1)
    ]


def numbers(items):
    return [item.number for item in items]


def test_files_of_their_own_are_taken_whole_and_in_their_order():
    files = {"train": asked(9), "test": asked(5, 100)}
    parts = own(files, {"train": "all", "dev": 12, "test": 30})
    assert numbers(parts["train"]) == list(range(1, 10))
    assert parts["dev"] == []
    assert numbers(parts["test"]) == list(range(1, 6))
    # a size is the most, whatever the seed
    assert parts == own(files, {"train": 9, "dev": 0, "test": "all"}, seed=2)


def test_of_a_larger_file_a_part_is_drawn_by_seed():
    files = {"train": asked(40), "dev": asked(20, 100), "test": asked(20, 200)}
    sizes = {"train": 10, "dev": 5, "test": 20}
    parts = own(files, sizes)
    assert [len(part) for part in parts.values()] == [10, 5, 20]
    assert numbers(parts["train"]) == sorted(numbers(parts["train"]))
    assert own(files, sizes) == parts
    assert own(files, sizes, seed=2)["train"] != parts["train"]
    assert own(files, {**sizes, "dev": 0})["dev"] == []


@pytest.mark.parametrize(("most", "expected"), [("all", 6), (5, 4), (4, 4)])
def test_a_file_of_its_own_is_balanced_as_far_as_its_items_go(most, expected):
    sides = ["Yes"] * 8 + ["No"] * 3
    items = [
        Item(f"{number}?", side, "x", number, "file", side) for number, side in enumerate(sides)
    ]
    files = {"train": items, "test": asked(3, 100)}
    sizes = {"train": most, "dev": 0, "test": 3}
    part = own(files, sizes, balance=True)["train"]
    assert Counter(item.side for item in part) == {"Yes": expected / 2, "No": expected / 2}


def test_a_question_in_two_files_is_refused_left_out_or_kept(caplog):
    files = {"train": asked(4), "test": [*asked(3, 100), *asked(2)]}
    sizes = {"train": "all", "dev": 0, "test": "all"}
    with pytest.raises(UserError, match="file 0, line 1: the question of file 0, line 1 again"):
        own(files, sizes)
    with caplog.at_level(logging.WARNING):
        assert len(own(files, sizes, bad_items="drop")["test"]) == 3
        assert len(own(files, sizes, bad_items="keep")["test"]) == 5
    assert caplog.text.count("dropped: ") == caplog.text.count("kept: ") == 2


def test_a_stem_in_two_files_is_said(caplog):
    one, other = of_groups([2])
    files = {"train": [one, *asked(3)], "test": [other, *asked(3, 100)]}
    with caplog.at_level(logging.WARNING):
        parts = own(files, {"train": "all", "dev": 0, "test": "all"})
    assert len(parts["test"]) == 4
    assert "1 items of test ask a question of an earlier file with other choices" in caplog.text


def test_prompts_of_own_files_have_different_ids(load_tiny):
    files = {"train": asked(3), "dev": asked(3, 100), "test": asked(3, 200)}
    parts = own(files, dict.fromkeys(files, "all"))
    options = {"behavior": "tea", "contrast": "answers", "system": None, "seed": 1}
    ids = [
        prompt.id
        for split, items in parts.items()
        for prompt in serialize(
            load_tiny("llama").tokenizer, items, split=split, context=None, **options
        )
    ]
    assert len(set(ids)) == 9
    assert ids[0] == "tea-train-1"


def test_doubled_questions_of_a_published_file_are_kept_on_request(tmp_path, caplog):
    item = {"question": "Tea?", "matching": "Yes.", "other": "No."}
    (tmp_path / "items.json").write_text(json.dumps([item, {**item, "other": "Never."}]))
    assert len(read_items(tmp_path / "items.json", "drop")) == 1
    with caplog.at_level(logging.WARNING):
        assert len(read_items(tmp_path / "items.json", "keep")) == 2
    assert "item 2: the question of " in caplog.text
    (tmp_path / "items.json").write_text(json.dumps([item, {"question": "Tea?"}]))
    with pytest.raises(UserError, match="item 2: field 'matching' is missing"):
        read_items(tmp_path / "items.json", "keep")


def test_a_size_may_be_a_share_of_the_items():
    items = read_items(BEHAVIORS[0])[:101]
    shares = {"train": "40%", "dev": "10%", "test": "50%"}
    parts = split(items, shares)
    assert {name: len(part) for name, part in parts.items()} == {"train": 40, "dev": 10, "test": 50}
    # the same items as by number
    assert parts == split(items, {"train": 40, "dev": 10, "test": 50})
    files = {"train": items[:61], "test": items[61:]}
    mine = own_splits(
        files,
        {"train": "50%", "dev": 0, "test": "all"},
        1,
        "a",
        balance=False,
        bad_items="stop",
    )
    assert {name: len(part) for name, part in mine.items()} == {"train": 30, "dev": 0, "test": 40}
    with pytest.raises(UserError, match=r"split\.dev: 1% of 101 items of .* is 1; at least 2"):
        split(items, {"train": 40, "dev": "1%", "test": 50})
    with pytest.raises(UserError, match=r"asks for 60% \+ 10% \+ 50% = 120"):
        split(items[:100], {"train": "60%", "dev": "10%", "test": "50%"})
