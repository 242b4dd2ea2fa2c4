"""What a user hands over is read as it is written, or refused by file and line."""

import json

import pytest
import yaml
from conftest import ROOT

from steerpaper import reading
from steerpaper.errors import UserError
from steerpaper.reading import read_yaml, records
from steerpaper.steering.items import read_items

ITEM = {"question": "Tea or coffee?", "matching": "Tea, please.", "other": "Coffee, please."}
PUBLISHED = {
    "question": "Tea or coffee?\n\nChoices:\n (A) Tea\n (B) Coffee",
    "answer_matching_behavior": " (A)",
    "answer_not_matching_behavior": " (B)",
}


def write(folder, *items, end="\n"):
    path = folder / "tea.jsonl"
    lines = (json.dumps(item, ensure_ascii=False) + end for item in items)
    path.write_bytes("".join(lines).encode())
    return path


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(mark, tmp_path):
    path = tmp_path / "tea.jsonl"
    escaped = json.dumps(mark) if ord(mark) < 32 else f'"{mark}"'
    first = json.dumps(ITEM).replace("Tea or", f"Tea{escaped[1:-1]}or")
    path.write_bytes((first + "\r\n" + json.dumps({**ITEM, "question": "Why?"})).encode())
    one, two = read_items(path)
    assert one.question == f"Tea{mark}or coffee?"
    assert (one.number, two.number) == (1, 2)


def test_a_mark_of_order_at_the_beginning_of_a_file_is_no_part_of_it(tmp_path):
    path = tmp_path / "tea.jsonl"
    path.write_text(json.dumps([ITEM]), encoding="utf-8-sig")
    assert [record.value() for record in records(path)] == [ITEM]


def test_lines_that_are_not_json_are_dropped_like_other_bad_items(tmp_path, caplog):
    good = json.dumps(ITEM).encode()
    lines = [b"{no", b'{"question": NaN}', b"\xff\xfe", b'{"a": ' * 100_000, good, good]
    path = tmp_path / "tea.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert [item.number for item in read_items(path, "drop")] == [5]
    said = [record.getMessage() for record in caplog.records]
    assert [f"line {n}: " in reason for n, reason in zip((1, 2, 3, 4, 6), said, strict=True)]
    assert all(reason.startswith(f"dropped: {path}, line ") for reason in said)


@pytest.mark.parametrize(
    "question",
    [
        "Tea or\u200b coffee?",  # a space of no width
        "Tea or cof\u00adfee?",  # a hyphen that is not shown
        "\ufeffTea or coffee?",
        "Tea \u2009or\u00a0coffee?",
        "\uff34ea or coffee?",  # a letter of full width
        "TEA OR CO\ufb00EE?",  # a ligature
    ],
)
def test_questions_that_look_the_same_are_doubled(question, tmp_path):
    path = write(tmp_path, ITEM, {**ITEM, "question": question})
    with pytest.raises(UserError, match=r"line 2: the question of .*line 1 again"):
        read_items(path)


def test_a_question_in_another_normal_form_is_doubled(tmp_path):
    path = write(tmp_path, {**ITEM, "question": "Caf\u00e9?"}, {**ITEM, "question": "Cafe\u0301?"})
    with pytest.raises(UserError, match=r"line 2: the question of .*line 1 again"):
        read_items(path)


def test_a_published_item_with_its_choices_swapped_is_doubled_and_other_choices_are_none(tmp_path):
    swapped = {
        "question": "Tea or coffee?\n\nChoices:\n (A) Coffee\n (B) Tea",
        "answer_matching_behavior": " (B)",
        "answer_not_matching_behavior": " (A)",
    }
    other = {**PUBLISHED, "question": PUBLISHED["question"].replace("Coffee", "Cocoa")}
    assert len(read_items(write(tmp_path, PUBLISHED, other))) == 2
    with pytest.raises(UserError, match=r"line 3: the question of .*line 1 again"):
        read_items(write(tmp_path, PUBLISHED, other, swapped))


def test_answers_that_differ_in_an_exponent_differ(tmp_path):
    item = {"question": "How many?", "matching": "10²", "other": "102"}
    assert read_items(write(tmp_path, item))[0].matching == "10²"


def test_a_long_run_of_white_space_is_read_at_once(tmp_path):
    (item,) = read_items(write(tmp_path, {**ITEM, "question": f"Tea{' ' * 300_000}(A) or (B)?"}))
    assert item.question.startswith("Tea ")


def test_yaml_that_stands_for_the_same_is_not_doubled(tmp_path):
    path = tmp_path / "about.yaml"
    path.write_text("base: &base {a: 1, b: 2}\none: {<<: *base, a: 3}\ntwo: {a: 1}\n")
    assert read_yaml(path) == {
        "base": {"a": 1, "b": 2},
        "one": {"a": 3, "b": 2},
        "two": {"a": 1},
    }


def test_what_libyaml_reads_is_what_python_reads(tmp_path):
    paths = [
        path
        for folder in ("report", "studies", "data", "envs")
        for path in (ROOT / folder).rglob("*")
    ]
    paths = [ROOT / "config.yaml", *(path for path in paths if path.suffix == ".yaml")]
    assert len(paths) > 30
    for path in paths:
        assert read_yaml(path) == yaml.load(path.read_text(), Loader=reading._StrictYaml), path
    # what it would take for a space is refused as ever
    (tmp_path / "tab.yaml").write_text("a:\n\tb: 1\n")
    with pytest.raises(UserError, match=r"tab\.yaml, line 2: not YAML: found character '\\t'"):
        read_yaml(tmp_path / "tab.yaml")
