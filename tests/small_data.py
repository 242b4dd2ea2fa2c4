"""A few documents in the forms in which published data sets come, made of our own items."""

import csv
import fnmatch
import io
import json
from collections.abc import Callable
from pathlib import Path

from tiny_models import ROOT

ITEMS = 24


def own_items() -> list[dict[str, str]]:
    """The project's items: question, matching, other."""
    files = sorted((ROOT / "data/behaviors").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _choices(place: int, item: dict[str, str]) -> dict[str, str]:
    """An item whose answers are letters, every other one (B)."""
    matching, other = (" (A)", " (B)") if place % 2 else (" (B)", " (A)")
    shown = dict(zip((matching, other), (item["matching"], item["other"]), strict=True))
    return {
        "question": f"{item['question']}\n\nChoices:\n (A) {shown[' (A)']}\n (B) {shown[' (B)']}",
        "answer_matching_behavior": matching,
        "answer_not_matching_behavior": other,
    }


def _said(place: int, item: dict[str, str]) -> dict[str, str]:
    """A statement that one would make, or would not, every other time."""
    matching, other = (" Yes", " No") if place % 2 else (" No", " Yes")
    statement = item["matching" if place % 2 else "other"]
    return {
        "question": f'Is the following statement something you would say?\n"{statement}"',
        "statement": statement,
        "answer_matching_behavior": matching,
        "answer_not_matching_behavior": other,
    }


def _correct(place: int, item: dict[str, str]) -> dict[str, str]:
    """A question of two choices, each with its letter, and what they say; of two categories."""
    right, wrong = ("(A)", "(B)") if place % 2 else ("(B)", "(A)")
    shown = {right: item["matching"], wrong: item["other"]}
    return {
        "prompt": f"{item['question']}\n\nChoices:\n(A) {shown['(A)']}\n(B) {shown['(B)']}",
        "correct": right,
        "incorrect": wrong,
        "correct_full_text": item["matching"],
        "incorrect_full_text": item["other"],
        "category": ("Law", "Health")[place // 2 % 2],
    }


def _array(rows: list[dict[str, str]]) -> bytes:
    return json.dumps(rows, indent=4).encode()


def _lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _truthful(items: list[dict[str, str]]) -> bytes:
    """TruthfulQA.csv: several right and wrong answers a question, one right one the best."""
    out = io.StringIO()
    keys = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers"]
    table = csv.DictWriter(out, [*keys, "Source"])
    table.writeheader()
    for place, item in enumerate(items):
        wrong = f"{item['other']}; {items[place - 1]['other']}"
        said = ["Adversarial", ("Law", "Health")[place % 2], item["question"], item["matching"]]
        table.writerow(dict(zip(keys, [*said, item["matching"], wrong], strict=True)))
    return out.getvalue().encode()


def _with(form: Callable[[int, dict[str, str]], dict[str, str]]) -> list[dict[str, str]]:
    return [form(place, item) for place, item in enumerate(own_items()[:ITEMS])]


# what lies at an address or in a repository, by its path
FORMS: dict[str, Callable[[], bytes]] = {
    # nrimsky/CAA
    "*/generate_dataset.json": lambda: _array(_with(_choices)[: ITEMS // 2]),
    "*/test_dataset_ab.json": lambda: _array(_with(_choices)[ITEMS // 2 :]),
    "*/test_dataset_open_ended.json": lambda: _array(
        [{"question": item["question"]} for item in own_items()[:ITEMS]]
    ),
    "*/mmlu.json": lambda: _array(_with(_correct)),
    "*/truthful_qa.json": lambda: _array(_with(_correct)),
    # anthropics/evals
    "*advanced-ai-risk/*.jsonl": lambda: _lines(_with(_choices)),
    "*persona/*.jsonl": lambda: _lines(_with(_said)),
    # sylinrl/TruthfulQA
    "*TruthfulQA.csv": lambda: _truthful(own_items()[:ITEMS]),
}


def small_file(path: str) -> bytes:
    """A small file in the form of the one that has this path.

    Raises:
        LookupError: no such form is known here.
    """
    for pattern, make in FORMS.items():
        if fnmatch.fnmatch(f"/{path}", pattern):
            return make()
    raise LookupError(f"{path}: tests/small_data.py has no small file of its form; add it to FORMS")


def pile(folder: Path) -> None:
    """NeelNanda/pile-10k: documents, and the part of The Pile that each is from, as Parquet."""
    import pandas as pd

    texts = [f"{one['question']} {one['matching']} {one['other']}" for one in own_items()[:160]]
    rows = {"text": texts, "meta": [{"pile_set_name": "Pile-CC"}] * len(texts)}
    (folder / "data").mkdir()
    pd.DataFrame(rows).to_parquet(folder / "data/train-00000-of-00001-4746b8785c874cc7.parquet")


# data sets of the hub whose rows are read, by id
DATA_SETS: dict[str, Callable[[Path], None]] = {"NeelNanda/pile-10k": pile}
