"""Which side of a behaviour a completion shows, in a judge's eyes: the question, and its answer."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from steerpaper.errors import UserError
from steerpaper.judges.judge import Judge, parse_word
from steerpaper.steering.about import About
from steerpaper.steering.labels import LABELS
from steerpaper.steering.ratings import COMPLETION, Prompts, answered, completions

log = logging.getLogger(__name__)


def description(about: About, *, behavior: str, file: str) -> str:
    """What a judge is told of a behaviour: its title, or else its name, and what it measures.

    Args:
        file: where this is from, for the message.

    Raises:
        UserError: the file does not say what the behaviour measures.
    """
    if about.measures is None:
        raise UserError(
            f"{file}: measures: is missing; with steering.ratings.labels: judge a judge is told "
            "what it says: write which answers are matching and which other, or label by markers"
        )
    return f"{about.title or behavior}. {about.measures.strip()}"


def label_question(told: str, question: str, answer: str) -> str:
    """What a judge is asked about a completion.

    Args:
        told: the behaviour's `description`.
    """
    return f"""\
You are shown a question and an answer to it. Say which side of a behaviour the answer shows.

The behaviour: {told}

Question:
{question}

Answer:
{answer}

Reply with one word and nothing else: matching if the answer shows the behaviour, other if it \
shows the opposite, neither if it shows none of the two or both alike."""


def label_prompts(
    samples: pd.DataFrame, questions: Mapping[str, str], told: str, *, behavior: str
) -> Iterator[dict[str, Any]]:
    """What a judge is asked about each of a behaviour's completions, in their order.

    Args:
        samples: prompt_id, layer, multiplier, decoding, sample, text.
        questions: the open questions by prompt_id.
        told: the behaviour's `description`.

    Returns:
        rows of behavior, prompt_id, layer, multiplier, decoding, sample, system, question.
    """
    for row, question, text in completions(samples, questions, behavior=behavior):
        yield {**row, "system": None, "question": label_question(told, question, text)}


def label(judge: Judge, prompts: Prompts) -> pd.DataFrame:
    """A judge's label of every completion; `steering.ratings.prepare` comes before.

    Args:
        prompts: rows of `label_prompts`.

    Returns:
        the rows' columns but question and system; judge, answer, and label, which is None where the
        answer is none of the three words.

    Raises:
        UserError: the judge cannot be asked.
    """
    table = answered(judge, prompts, 1, COMPLETION)
    labels = [parse_word(answer, LABELS) for answer in table["answer"]]
    if unread := labels.count(None):
        log.warning("%s: %d of %d answers are no label", judge.name, unread, len(labels))
    table.insert(len(COMPLETION), "judge", judge.name)
    return table.assign(label=pd.Series(labels, dtype=object))
