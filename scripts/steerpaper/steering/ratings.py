"""Completions shown to judges, and rated: each answer is kept as it came, and read strictly."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steerpaper.judges.judge import Judge, Question, parse_rating

log = logging.getLogger(__name__)

Prompts = Sequence[Mapping[str, Any]]

# what tells a behaviour's completion from the others
COMPLETION = ["behavior", "prompt_id", "layer", "multiplier", "decoding", "sample"]
ABOUT = [*COMPLETION, "lowest", "highest"]


def completions(
    samples: pd.DataFrame, questions: Mapping[str, str], *, behavior: str
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Each of a behaviour's completions, in their order: `COMPLETION`, its question, its text.

    Args:
        samples: prompt_id, layer, multiplier, decoding, sample, text.
        questions: the open questions by prompt_id.
    """
    for row, text in zip(samples[COMPLETION[1:]].to_dict("records"), samples["text"], strict=True):
        named = {str(key): value for key, value in row.items()}
        yield {"behavior": behavior, **named}, questions[row["prompt_id"]], text


@dataclass(frozen=True)
class Rater:
    """A judge, and how often it is asked each question."""

    judge: Judge
    passes: int


def prepare(raters: Sequence[Rater], prompts: Prompts, to_label: Prompts = ()) -> None:
    """Say what all judges will be asked, before any is.

    Args:
        prompts: rows of `rating_prompts`, for every judge and pass.
        to_label: rows of `label_prompts`, for the first judge, once.

    Raises:
        UserError: one of them would need more requests than it is allowed.
    """
    for place, rater in enumerate(raters):
        asked = questions(rater.judge, to_label) if place == 0 else []
        for nth in range(1, rater.passes + 1):
            asked += questions(rater.judge, prompts, nth)
        rater.judge.prepare([question for question in asked if question is not None])


def rate(raters: Sequence[Rater], prompts: Prompts) -> pd.DataFrame:
    """Every judge's rating of every completion, as often as it is asked; `prepare` comes before.

    A question that a judge cannot read whole is not asked; it counts as not rated.

    Args:
        prompts: rows of `rating_prompts`.

    Returns:
        the rows' columns but question and system; judge, pass, answer, and rating, which is
        not-a-number where the answer is no rating.

    Raises:
        UserError: of a judge that cannot be asked.
    """
    tables = []
    for name, rater in zip(_names(raters), raters, strict=True):
        for nth in range(1, rater.passes + 1):
            table = _rated(rater.judge, prompts, nth)
            unread = int(table["rating"].isna().sum())
            if unread:
                log.warning("%s: %d of %d answers are no rating", name, unread, len(table))
            tables.append(table.assign(judge=name, **{"pass": nth}))
    columns = [*ABOUT, "judge", "pass", "answer", "rating"]
    return pd.concat(tables, ignore_index=True)[columns]


def questions(judge: Judge, prompts: Prompts, nth: int = 1) -> list[Question | None]:
    """What a judge is asked, None where it could not read a question whole."""
    asked = [Question(row["question"], row["system"], nth) for row in prompts]
    return [question if judge.fits(question) else None for question in asked]


def answered(judge: Judge, prompts: Prompts, nth: int, columns: list[str]) -> pd.DataFrame:
    """Some of the prompts' columns, and a judge's `answer`; empty where it could not be asked."""
    asked = questions(judge, prompts, nth)
    written = iter(judge.write([question for question in asked if question is not None]))
    answers = ["" if question is None else next(written) for question in asked]
    table = pd.DataFrame([{key: row[key] for key in columns} for row in prompts], columns=columns)
    return table.assign(answer=answers)


def _rated(judge: Judge, prompts: Prompts, nth: int) -> pd.DataFrame:
    table = answered(judge, prompts, nth, ABOUT)
    ratings = [
        parse_rating(answer, row["lowest"], row["highest"])
        for answer, row in zip(table["answer"], prompts, strict=True)
    ]
    return table.assign(rating=pd.Series(ratings, dtype=float))


def _names(raters: Sequence[Rater]) -> list[str]:
    """What tables call the judges; two servers may call their models alike."""
    found: list[str] = []
    for rater in raters:
        found.append(rater.judge.name + " (second)" * (rater.judge.name in found))
    return found
