"""Questions with any number of choices: readers of benchmarks' own forms, a part of them, letters.

What the forms are is in docs/own-data.md.
"""

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steerpaper.errors import UserError
from steerpaper.reading import Record, read_text, records, shown
from steerpaper.seeds import stream
from steerpaper.steering.items import plain

log = logging.getLogger(__name__)

MOST = 26  # choices that have a letter
MMLU = ("question", "A", "B", "C", "D", "answer")
TRUTHFULQA = ("Category", "Question", "Best Answer", "Incorrect Answers")
CAA = ("prompt", "correct", "correct_full_text", "incorrect_full_text", "category")


@dataclass(frozen=True)
class Question:
    """A question and the texts of its choices.

    Attributes:
        choices: in the order of their letters.
        correct: the place of the correct one.
        category: its subject or kind; empty where it has none.
        source: file and line.
        written: the question with its choices as the file writes both; None where it does not.
        number: its place among the benchmark's questions, from 1 (see `numbered`).
    """

    question: str
    choices: tuple[str, ...]
    correct: int
    category: str
    source: str
    written: str | None = None
    number: int = 0


@dataclass(frozen=True)
class Form:
    """How a benchmark's own files are read.

    Attributes:
        rows: a file and what it is called -> its rows.
        parse: of one row the question.
        ordered: whether the choices have an order of their own, which is kept. Else their letters
            are dealt (see `dealt`).
    """

    rows: Callable[[str | Path, str], Iterator[Record]]
    parse: Callable[[Record], Question]
    ordered: bool


def read_questions(
    path: str | Path, form: str, name: str, *, category: str = "", bad_items: str = "stop"
) -> list[Question]:
    """Read a benchmark's file.

    Args:
        form: a key of `FORMS`.
        name: what the file is called in messages.
        category: of questions that have none of their own.
        bad_items: `stop` raises at the first question that is malformed, `drop` leaves such
            questions out and logs each with its reason.

    Raises:
        UserError: names the file and line of what is missing or malformed.
    """
    found: list[Question] = []
    read = 0
    for row in FORMS[form].rows(path, name):
        read += 1
        try:
            question = FORMS[form].parse(row)
        except UserError as error:
            if bad_items == "drop":
                log.warning("dropped: %s", error)
                continue
            raise
        found.append(replace(question, category=question.category or category))
    if not found:
        why = "every question was dropped" if read else "the file holds no question"
        raise UserError(f"{name}: {why}")
    return found


def numbered(questions: Iterable[Question]) -> list[Question]:
    """A benchmark's questions with their numbers, in the order of its files."""
    return [replace(question, number=number) for number, question in enumerate(questions, 1)]


def part(questions: Sequence[Question], n: int | None, seed: int, name: str) -> list[Question]:
    """n of a benchmark's questions, of each category as many, drawn by seed; None takes all.

    A larger n holds the questions of a smaller one. Where a category has too few, the others fill
    up; their order stays the file's.
    """
    if n is None or n >= len(questions):
        return list(questions)
    order = stream(seed, "questions", name).permutation(len(questions))
    seen: Counter[str] = Counter()
    rank: dict[int, tuple[int, int]] = {}
    for place in order:
        category = questions[place].category
        rank[int(place)] = (seen[category], len(rank))
        seen[category] += 1
    taken = sorted(rank, key=lambda place: rank[place])[:n]
    return [questions[place] for place in sorted(taken)]


def dealt(questions: Sequence[Question], seed: int, name: str) -> list[Question]:
    """Questions with their choices in an order by seed.

    Among questions of equally many choices each letter is the correct one equally often; where that
    does not come out even, which letters are so once more is drawn.
    """
    groups: dict[int, list[int]] = {}
    for place, question in enumerate(questions):
        groups.setdefault(len(question.choices), []).append(place)
    found = list(questions)
    for size, places in groups.items():
        generator = stream(seed, "letters", name, size)
        rounds = -(-len(places) // size)
        letters = np.concatenate([generator.permutation(size) for _ in range(rounds)])
        for place, letter in zip(
            places, generator.permutation(letters[: len(places)]), strict=True
        ):
            found[place] = _at(questions[place], int(letter), seed, name)
    return found


def _at(question: Question, letter: int, seed: int, name: str) -> Question:
    """A question with its correct choice at a letter's place, the others in an order by seed."""
    wrong = [text for place, text in enumerate(question.choices) if place != question.correct]
    order = stream(seed, "choices", name, question.number).permutation(len(wrong))
    choices = [wrong[place] for place in order]
    choices.insert(letter, question.choices[question.correct])
    return replace(question, choices=tuple(choices), correct=letter)


def _json_rows(path: str | Path, name: str) -> Iterator[Record]:
    """Rows of JSON Lines, of a JSON list, or of a Parquet table, as the hub keeps many."""
    if Path(path).suffix != ".parquet":
        yield from records(path, name)
        return
    try:
        rows = pq.read_table(path).to_pylist()
    except (ValueError, OSError, pa.ArrowException) as error:
        raise UserError(f"{name}: not Parquet: {' '.join(str(error).split())}") from error
    for number, row in enumerate(rows, 1):
        yield Record(f"{name}, row {number}", number, row)


def _csv_rows(path: str | Path, name: str) -> Iterator[tuple[str, int, list[str]]]:
    """Every row of a CSV file that is not empty: where it begins, its line, its cells."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{name}, line {line}: not CSV: {error}") from error
        if row is None:
            return
        if row:
            yield f"{name}, line {line}", line, row


def _headed_rows(path: str | Path, name: str) -> Iterator[Record]:
    """Rows of a CSV file whose first one names its columns."""
    header: list[str] | None = None
    for where, line, row in _csv_rows(path, name):
        if header is None:
            header = row
            if missing := [column for column in TRUTHFULQA if column not in header]:
                raise UserError(
                    f"{name}: has no column '{missing[0]}'; expected {', '.join(TRUTHFULQA)}, "
                    f"found {shown(', '.join(header))}"
                )
        else:
            yield Record(where, line, dict(zip(header, row, strict=False)))


def _mmlu_rows(path: str | Path, name: str) -> Iterator[Record]:
    """MMLU's rows: as the hub has them, or the original CSV files without a header."""
    if Path(path).suffix != ".csv":
        yield from _json_rows(path, name)
        return
    for where, line, row in _csv_rows(path, name):
        yield Record(where, line, row)


def _own(row: Record) -> Question:
    """Our own form: question, correct, wrong (a text, or a list of texts), category or not."""
    found = _object(row, "question, correct, wrong")
    wrong = found.get("wrong")
    choices = [found.get("correct"), *(wrong if isinstance(wrong, list) else [wrong])]
    names = ("'correct'", "'wrong'")
    return _question(row, found.get("question"), choices, 0, found.get("category"), names)


def _mmlu(row: Record) -> Question:
    """MMLU's form (Hendrycks et al. 2021): choices in the file's order, the correct one's place."""
    value = row.value()
    question: Any
    choices: Any
    if isinstance(value, list):
        if len(value) != len(MMLU):
            raise UserError(
                f"{row.where}: has {len(value)} columns; expected {len(MMLU)} without a header: "
                f"{', '.join(MMLU)}"
            )
        question, *choices, answer = value
        subject = None
    else:
        found = _object(row, "question, choices, answer")
        question, choices, answer = (found.get(key) for key in ("question", "choices", "answer"))
        subject = found.get("subject")
    if not isinstance(choices, list):
        raise UserError(f"{row.where}: 'choices' must be a list of texts, found {shown(choices)}")
    return _question(row, question, choices, _place(row, answer, len(choices)), subject)


def _place(row: Record, answer: Any, n: int) -> int:
    """The place that an answer names, by its number from 0 or by its letter."""
    place = answer
    if isinstance(answer, str) and re.fullmatch("[A-Za-z]", answer.strip()):
        place = ord(answer.strip().upper()) - ord("A")
    if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place < n:
        raise UserError(
            f"{row.where}: the answer {shown(answer)} is none of {n} choices; expected a number "
            f"from 0 to {n - 1}, or a letter from A to {letter(n - 1)}"
        )
    return place


def _truthfulqa(row: Record) -> Question:
    """TruthfulQA's form (Lin et al. 2022), as MC1: the best answer against the incorrect ones.

    Answers end in a full stop, as in the authors' code (truthfulqa/utilities.py). An incorrect
    answer that stands twice counts once: against the likeliest of them it makes no difference.
    """
    found = row.value()
    for column in TRUTHFULQA:
        if column not in found:
            raise UserError(f"{row.where}: has no cell in the column '{column}'")
    cells = found["Incorrect Answers"].split(";")
    wrong = list(dict.fromkeys(_closed(cell) for cell in cells if cell.strip()))
    choices = [_closed(found["Best Answer"]), *wrong]
    names = ("the best answer", "an incorrect answer")
    return _question(row, found["Question"], choices, 0, found["Category"], names)


def _closed(answer: str) -> str:
    answer = answer.strip()
    return answer if not answer or answer.endswith(".") else f"{answer}."


def _caa(row: Record) -> Question:
    """The form of Panickssery et al. 2023 (datasets/test/mmlu, truthfulqa): two choices.

    By letters the prompt is asked as it stands; by answers without its choices.
    """
    found = _object(row, ", ".join(CAA))
    for key in CAA[:-1]:
        if not isinstance(found.get(key), str):
            raise UserError(
                f"{row.where}: '{key}' must be text, found {shown(found.get(key))}; expected the "
                f"keys {', '.join(CAA)}"
            )
    stem, marked, listed = found["prompt"].rpartition("Choices:")
    if not marked or not re.search(r"\(A\).*\(B\)", listed, re.DOTALL):
        raise UserError(
            f"{row.where}: the prompt must end in 'Choices:' with (A) and (B), found "
            f"{shown(found['prompt'])}"
        )
    correct = found["correct"].strip().strip("()")
    if correct not in ("A", "B"):
        raise UserError(f"{row.where}: 'correct' must be (A) or (B), found {shown(correct)}")
    texts = [found["correct_full_text"], found["incorrect_full_text"]]
    choices = texts if correct == "A" else texts[::-1]
    question = _question(row, stem, choices, "AB".index(correct), found.get("category"))
    return replace(question, written=found["prompt"].strip())


def _object(row: Record, keys: str) -> Mapping[str, Any]:
    found = row.value()
    if not isinstance(found, dict):
        raise UserError(
            f"{row.where}: expected a JSON object with the keys {keys}, found "
            f"{type(found).__name__}"
        )
    return found


def _question(
    row: Record,
    question: Any,
    choices: Sequence[Any],
    correct: int,
    category: Any,
    names: Sequence[str] = (),
) -> Question:
    """A question of what a row says, checked.

    Args:
        names: what messages call the first choice, and each other one; else they are numbered.

    Raises:
        UserError: names the file and line, and what is missing, doubled, or no text.
    """
    called = [names[0], *[names[1]] * (len(choices) - 1)] if names else []
    for place, text in enumerate(choices):
        _check_text(row, called[place] if called else f"choice {place + 1}", text)
    _check_text(row, "the question", question)
    if category is not None and not isinstance(category, str):
        raise UserError(f"{row.where}: the category must be text, found {shown(category)}")
    if len(choices) < 2:
        raise UserError(f"{row.where}: a question needs two choices or more, found {len(choices)}")
    texts = [text.strip() for text in choices]
    # upper and lower case may be what tells choices apart
    if doubled := [text for text, count in Counter(texts).items() if count > 1]:
        raise UserError(
            f"{row.where}: the choice {shown(doubled[0])} stands twice; mend the file, or leave "
            "such questions out (bad_items: drop)"
        )
    return Question(question.strip(), tuple(texts), correct, (category or "").strip(), row.where)


def _check_text(row: Record, name: str, text: Any) -> None:
    if not isinstance(text, str) or not plain(text, "NFC"):
        raise UserError(f"{row.where}: {name} must be text and not empty, found {shown(text)}")


def letter(place: int) -> str:
    """The letter of a choice, from A on."""
    return chr(ord("A") + place)


FORMS: Mapping[str, Form] = {
    "own": Form(_json_rows, _own, ordered=False),
    "mmlu": Form(_mmlu_rows, _mmlu, ordered=True),
    "truthfulqa": Form(_headed_rows, _truthfulqa, ordered=False),
    "caa": Form(_json_rows, _caa, ordered=True),
}
