"""Completions rated by judges: each answer is kept as it came, and read strictly."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steerpaper.judges.judge import Judge, Question, parse_rating

log = logging.getLogger(__name__)

ABOUT = ["behavior", "prompt_id", "layer", "multiplier", "decoding", "sample", "lowest", "highest"]


@dataclass(frozen=True)
class Rater:
    """A judge, and how often it is asked each question."""

    judge: Judge
    passes: int


def rate(raters: Sequence[Rater], prompts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Every judge's rating of every completion, as often as it is asked.

    A question that a judge cannot read whole is not asked; it counts as not rated.

    Args:
        prompts: rows of `rating_prompts`.

    Returns:
        the rows' columns but question and system; judge, pass, answer, and rating, which is
        not-a-number where the answer is no rating.

    Raises:
        UserError: of a judge that cannot be asked; where one would need more requests than it is
            allowed, nothing is asked of any.
    """
    asked = [
        [_questions(rater.judge, prompts, nth) for nth in range(1, rater.passes + 1)]
        for rater in raters
    ]
    for rater, passes in zip(raters, asked, strict=True):
        rater.judge.prepare([one for of_pass in passes for one in of_pass if one is not None])
    tables = []
    for name, rater, passes in zip(_names(raters), raters, asked, strict=True):
        for nth, questions in enumerate(passes, 1):
            table = _rated(rater.judge, prompts, questions)
            unread = int(table["rating"].isna().sum())
            if unread:
                log.warning("%s: %d of %d answers are no rating", name, unread, len(table))
            tables.append(table.assign(judge=name, **{"pass": nth}))
    columns = [*ABOUT, "judge", "pass", "answer", "rating"]
    return pd.concat(tables, ignore_index=True)[columns]


def _questions(
    judge: Judge, prompts: Sequence[Mapping[str, Any]], nth: int
) -> list[Question | None]:
    """What a judge is asked, None where it could not read a question whole."""
    questions = [Question(row["question"], row["system"], nth) for row in prompts]
    return [question if judge.fits(question) else None for question in questions]


def _rated(
    judge: Judge, prompts: Sequence[Mapping[str, Any]], questions: Sequence[Question | None]
) -> pd.DataFrame:
    written = iter(judge.write([question for question in questions if question is not None]))
    answers = ["" if question is None else next(written) for question in questions]
    table = pd.DataFrame([{key: row[key] for key in ABOUT} for row in prompts], columns=ABOUT)
    ratings = [
        parse_rating(answer, row["lowest"], row["highest"])
        for answer, row in zip(answers, prompts, strict=True)
    ]
    return table.assign(answer=answers, rating=pd.Series(ratings, dtype=float))


def _names(raters: Sequence[Rater]) -> list[str]:
    """What tables call the judges; two servers may call their models alike."""
    found: list[str] = []
    for rater in raters:
        found.append(rater.judge.name + " (second)" * (rater.judge.name in found))
    return found
