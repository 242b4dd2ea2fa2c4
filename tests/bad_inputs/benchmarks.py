"""Benchmarks: questions that cannot be read or asked, and sets that say too little or too much."""

import json

from bad_inputs.configurations import _with
from steerpaper.engine.text import load_tokenizer
from steerpaper.steering.benchmark_prompts import ask
from steerpaper.steering.questions import Question, read_questions

SETS = "steering.benchmarks.sets"
OWN = {"question": "Tea?", "correct": "Tea.", "wrong": ["Coffee.", "Juice."]}
MMLU = {"question": "Tea?", "subject": "tea", "choices": ["a", "b", "c", "d"], "answer": 2}
CAA = {
    "prompt": "Tea?\n\nChoices:\n(A) Tea\n(B) Juice",
    "correct": "(A)",
    "incorrect": "(B)",
    "correct_full_text": "Tea",
    "incorrect_full_text": "Juice",
    "category": "tea",
}
HEADER = "Category,Question,Best Answer,Incorrect Answers\n"


def _read(form, text, name="tea.jsonl"):
    """A file of a form that holds `text`, or the rows."""

    def case(folder, model):
        written = text if isinstance(text, str) else json.dumps(text)
        (folder / name).write_text(written)
        read_questions(folder / name, form, name)

    return case


def _csv(form, text):
    return _read(form, text, "tea.csv")


def _asked(question, contrast="letters", context=None):
    """A question that is put to the model."""

    def case(folder, model):
        options = {"benchmark": "tea", "system": None, "context": context}
        ask(load_tokenizer(model), [question], [contrast], **options)

    return case


def _question(*choices, question="Tea?"):
    return Question(question, choices, 0, "", "tea.jsonl, line 1")


def _dropped(folder, model):
    (folder / "tea.jsonl").write_text("{}\n[]\n")
    read_questions(folder / "tea.jsonl", "own", "tea.jsonl", bad_items="drop")


CASES = {
    "no file": lambda folder, model: read_questions(folder / "tea.csv", "mmlu", "tea.csv"),
    "an empty file": _read("own", ""),
    "nothing left where bad questions are dropped": _dropped,
    "a question that is a number": _read("own", "3"),
    "a question without a wrong answer": _read("own", [{"question": "Tea?", "correct": "Tea."}]),
    "a question without its correct answer": _read("own", [{"question": "Tea?", "wrong": "No."}]),
    "a question with an empty list of wrong answers": _read("own", [{**OWN, "wrong": []}]),
    "a wrong answer without text": _read("own", [{**OWN, "wrong": ["Coffee.", " "]}]),
    "a wrong answer that is the correct one": _read("own", [{**OWN, "wrong": "Tea. "}]),
    "a category that is a list": _read("own", [{**OWN, "category": ["tea"]}]),
    "MMLU's row with one choice": _read("mmlu", [{**MMLU, "choices": ["a"], "answer": 0}]),
    "MMLU's row with a choice twice": _read("mmlu", [{**MMLU, "choices": ["a", "b", "a"]}]),
    "MMLU's row whose choices are a text": _read("mmlu", [{**MMLU, "choices": "a, b"}]),
    "MMLU's row whose answer is behind the choices": _read("mmlu", [{**MMLU, "answer": 4}]),
    "MMLU's row whose answer is a fraction": _read("mmlu", [{**MMLU, "answer": 1.5}]),
    "MMLU's row without an answer": _read("mmlu", [{"question": "Tea?", "choices": ["a", "b"]}]),
    "MMLU's file without a column": _csv("mmlu", "Tea?,a,b,c,D\n"),
    "MMLU's file whose answer is no letter of a choice": _csv("mmlu", "Tea?,a,b,c,d,E\n"),
    "MMLU's file with an empty choice": _csv("mmlu", "Tea?,a,,c,d,A\n"),
    "a CSV file with a quotation mark that is not closed": _csv("mmlu", 'Tea?,"a,b,c,d,A\n'),
    "a Parquet file that is none": _read("mmlu", "PAR1", "tea.parquet"),
    "TruthfulQA's table without a column": _csv("truthfulqa", "Category,Question\ntea,Tea?\n"),
    "TruthfulQA's table without a row": _csv("truthfulqa", HEADER),
    "TruthfulQA's row that is cut off": _csv("truthfulqa", HEADER + "tea,Tea?\n"),
    "TruthfulQA's row without an incorrect answer": _csv("truthfulqa", HEADER + "tea,Tea?,Tea,;\n"),
    "TruthfulQA's row whose best answer is incorrect too": _csv(
        "truthfulqa", HEADER + "tea,Tea?,Tea,Juice; Tea.\n"
    ),
    "CAA's question whose category is a number": _read("caa", [{**CAA, "category": 3}]),
    "CAA's question without a key": _read("caa", [{"prompt": CAA["prompt"]}]),
    "CAA's question without its choices": _read("caa", [{**CAA, "prompt": "Tea?"}]),
    "CAA's question whose answer is neither A nor B": _read("caa", [{**CAA, "correct": "(C)"}]),
    "27 choices by letters": _asked(_question(*(f"Tea {n}" for n in range(27)))),
    "a control token in a choice": _asked(_question("Tea", "Tea<|end|>"), "answers"),
    "a question longer than the context": _asked(_question("Tea", "Juice"), "answers", 8),
    "a set of an unknown form": _with(f"{SETS}.tea", {"file": "data/tea.csv", "form": "arc"}),
    "a set without a form": _with(f"{SETS}.tea", {"file": "data/tea.csv"}),
    "a set without a file": _with(f"{SETS}.tea", {"form": "own"}),
    "a set with a file and files": _with(
        f"{SETS}.tea", {"form": "own", "file": "a.jsonl", "files": {"tea": "b.jsonl"}}
    ),
    "a set whose file is not pinned": _with(
        f"{SETS}.tea", {"form": "mmlu", "files": {"tea": {"url": "https://a.org/tea.csv"}}}
    ),
    "a set whose name is a path": _with(f"{SETS}.a/b", {"form": "own", "file": "data/tea.jsonl"}),
    "a set that asks for no question": _with(
        f"{SETS}.tea", {"form": "own", "file": "a.jsonl", "questions": 0}
    ),
    "sets that are all left out": _with(
        "steering.benchmarks", {"behaviors": 1, "sets": {"knowledge": None}}
    ),
    "a set whose file is not there": _with(
        "steering.benchmarks",
        {"behaviors": 1, "sets": {"tea": {"form": "own", "file": "data/tea.jsonl"}}},
    ),
}
