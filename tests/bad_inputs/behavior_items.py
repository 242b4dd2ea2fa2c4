"""Raw items that cannot be read, or not be dealt."""

import json

from steerpaper.steering.items import read_items
from steerpaper.steering.splits import own_splits, split_items

GOOD = {"question": "Tea or coffee?", "matching": "Tea, please.", "other": "Coffee, please."}
PUBLISHED = {
    "question": "Tea or coffee?\n\nChoices:\n (A) Tea\n (B) Coffee",
    "answer_matching_behavior": " (A)",
    "answer_not_matching_behavior": " (B)",
}
SWAPPED = {
    "question": "Tea or coffee?\n\nChoices:\n (A) Coffee\n (B) Tea",
    "answer_matching_behavior": " (B)",
    "answer_not_matching_behavior": " (A)",
}


def _items(text, bad_items="stop"):
    """A file of items that holds `text`."""

    def case(folder, model):
        path = folder / "tea.jsonl"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        read_items(path, bad_items)

    return case


def _lines(*items):
    """A file with an item a line."""
    return _items("".join(json.dumps(item) + "\n" for item in items))


def _a_folder(folder, model):
    (folder / "tea.jsonl").mkdir()
    read_items(folder / "tea.jsonl")


def _dealt(items, *, balance=False, **sizes):
    """Items that are dealt into train, dev and test."""

    def case(folder, model):
        path = folder / "tea.jsonl"
        path.write_text("".join(json.dumps(item) + "\n" for item in items))
        sizes_of = {"train": 2, "dev": 2, "test": 2} | sizes
        split_items(read_items(path), sizes_of, 1, "tea", balance=balance)

    return case


def _own(train, test, bad_items="stop"):
    """Items whose train and test are files of their own."""

    def case(folder, model):
        files = {}
        for name, items in (("train", train), ("test", test)):
            path = folder / f"{name}.jsonl"
            path.write_text("".join(json.dumps(item) + "\n" for item in items))
            files[name] = read_items(path, "drop")
        sizes = {"train": "all", "dev": 0, "test": "all"}
        own_splits(files, sizes, 1, "tea", balance=False, bad_items=bad_items)

    return case


def _yes_no(yes, no):
    """Items whose matching answer is Yes, and such whose is No."""
    answers = [("Yes", "No")] * yes + [("No", "Yes")] * no
    return [
        {"question": f"Is it {number}?", "matching": matching, "other": other}
        for number, (matching, other) in enumerate(answers)
    ]


def _one_stem(n):
    """Items of one question, each with other choices."""
    question = "Which tea?\n\nChoices:\n (A) Number {}\n (B) None"
    return [{**PUBLISHED, "question": question.format(number)} for number in range(n)]


CASES = {
    "no file": lambda folder, model: read_items(folder / "tea.jsonl"),
    "a folder in the place of a file": _a_folder,
    "a file name of 300 characters": lambda folder, model: read_items(folder / ("tea" * 100)),
    "a file that is empty": _items(""),
    "a file that is not text": _items(b"\xff\xfe\x00"),
    "a line that is not text": _items(json.dumps(GOOD).encode() + b"\n\xe4\n"),
    "a line that is not JSON": _items('{"question": \n'),
    "a line that is cut off": _items(json.dumps(GOOD) + "\n" + json.dumps(GOOD)[:-9]),
    "a list that is not JSON": _items('[{"question": 1,]'),
    "a number instead of an item": _lines(3),
    "a list of lists": _items('[["question"]]'),
    "a key that stands twice in an item": _items('{"question": "Tea?", "question": "Coffee?"}'),
    "a number that is none": _items('{"question": NaN}'),
    "a number of 5,000 digits": _items('{"question": ' + "1" * 5000 + "}"),
    "100,000 brackets": _items("[" * 100_000),
    "100,000 braces": _items('{"a":' * 100_000),
    "half of a character": _items('{"question": "\\ud800"}'),
    "an item without its question": _items('{"matching": "a", "other": "b"}\n'),
    "a published item without an answer": _lines(
        {key: PUBLISHED[key] for key in ("question", "answer_matching_behavior")}
    ),
    "an answer without text": _lines({**GOOD, "other": "  "}),
    "an answer of zero-width characters": _lines({**GOOD, "other": "\u200b\u200b"}),
    "an answer that is a number": _lines({**GOOD, "other": 3}),
    "an answer that is a long list": _lines({**GOOD, "other": list(range(100_000))}),
    "both answers the same": _lines({**GOOD, "other": "tea,  please."}),
    "both answers the same letter": _lines({**PUBLISHED, "answer_not_matching_behavior": "(A)"}),
    "an answer that names no choice": _lines({**PUBLISHED, "answer_matching_behavior": " (C)"}),
    "letters without brackets": _lines(
        {**PUBLISHED, "answer_matching_behavior": "A", "answer_not_matching_behavior": "B"}
    ),
    "letters without choices": _lines({**PUBLISHED, "question": "Tea or coffee?"}),
    "letters with one choice": _lines({**PUBLISHED, "question": "Tea or coffee? (A) Tea"}),
    "choices without a question": _lines({**PUBLISHED, "question": "(A) Tea (B) Coffee"}),
    "a question that stands twice": _lines(GOOD, {**GOOD, "question": "tea or  COFFEE?"}),
    "a question that stands twice but for zero-width characters": _lines(
        GOOD, {**GOOD, "question": "Tea or\u200b coffee?"}
    ),
    "a question that stands twice in another normal form": _lines(
        {**GOOD, "question": "Caf\u00e9?"}, {**GOOD, "question": "Cafe\u0301?"}
    ),
    "a published item that stands twice, A and B swapped": _lines(PUBLISHED, SWAPPED),
    "nothing left where bad items are dropped": _items("{no}\n[1]\n", "drop"),
    "fewer items than the split asks for": _dealt([GOOD]),
    "one question alone, with other choices each time": _dealt(_one_stem(6)),
    "fewer items of No than a balanced split asks for": _dealt(_yes_no(9, 2), balance=True),
    "a question in the files of train and of test": _own([GOOD, PUBLISHED], [SWAPPED, GOOD]),
    "a file of test that is left with one item": _own(_yes_no(3, 3), [GOOD]),
    "a file of test whose items all are in train's": _own(
        _yes_no(3, 3), _yes_no(2, 2), bad_items="drop"
    ),
    "an odd size of a balanced split": _dealt(_yes_no(9, 9), balance=True, train=3),
}
