"""Markers of any script tell the sides apart; an about file of another kind is refused."""

import re

import pytest
from conftest import ROOT

from steerpaper.steering.about import About, read_about
from steerpaper.steering.labels import label_by_markers

SIDES = {"matching": ["hope"], "other": ["no"]}


def label(text, matching, *, finished=True):
    return label_by_markers(text, {"matching": matching, "other": []}, finished=finished)


@pytest.mark.parametrize(
    ("marker", "held", "not_held"),
    [
        ("y", "Say y now.", "Say yes."),
        ("by all means", "Do so, By  all means!", "by means of all"),
        ("élan", "with \u0045\u0301lan", "Magellan"),
        ("надежда", "Надежда есть.", "надеждами"),
        ("उम्मीद", "मुझे उम्मीद है", "उम्मीदवार"),
        ("희망", "희망 있다", "희망적"),
        ("希望", "我希望明天晴天", "我想明天晴天"),
        ("たのしい", "とてもたのしいです", "とてもかなしいです"),
        ("ความหวัง", "มีความหวังเสมอ", "มีความสุขเสมอ"),
        ("well-meant", "a well-meant word", "well, meant"),
        ("Hope", "HOPE.", "hopeless, hope-filled"),
    ],
)
def test_a_marker_of_any_script_is_found_as_a_whole_word(marker, held, not_held):
    assert label(held, [marker]) == "matching"
    assert label(not_held, [marker]) == "neither"


def test_a_word_that_may_be_cut_off_does_not_count_whatever_its_letters():
    assert label("İ hope", ["hope"], finished=False) == "neither"
    assert label("İ hope", ["hope"]) == "matching"


def ascii_label(text, markers, *, finished):
    """How words were matched when they were of a to z alone."""
    words = list(re.finditer(r"[a-z]+(?:['-][a-z]+)*", text.lower()))
    if words and not finished and words[-1].end() == len(text):
        words.pop()
    said = [word.group() for word in words]
    matching, other = (
        sum(said.count(marker) for marker in set(markers[side])) for side in ("matching", "other")
    )
    return "neither" if matching == other else "matching" if matching > other else "other"


def test_english_texts_are_labelled_as_by_letters_of_a_to_z():
    for items in sorted((ROOT / "data/behaviors").glob("*.jsonl")):
        path = items.with_suffix(".yaml")
        markers = read_about(path).markers
        lines = path.with_suffix(".jsonl").read_text().splitlines()
        for line in lines:
            for finished in (True, False):
                found = label_by_markers(line[:-9], markers, finished=finished, negators=[])
                assert found == ascii_label(line[:-9], markers, finished=finished)


def test_an_about_file_that_says_nothing_is_one_without_it(tmp_path):
    (tmp_path / "tea.yaml").write_text("# later\n")
    assert read_about(tmp_path / "tea.yaml") == read_about(None) == About()
