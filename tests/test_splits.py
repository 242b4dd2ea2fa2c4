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
from steerpaper.steering.splits import split_items

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
