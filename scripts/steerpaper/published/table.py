"""The verdict: every published number that the study computes, beside ours."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from steerpaper.published.compare import (
    INSIDE,
    NOT_COMPARABLE,
    OUTSIDE,
    UNKNOWN_ERROR,
    Estimate,
    published_interval,
    verdict,
)
from steerpaper.published.numbers import Number
from steerpaper.published.ours import Found, find
from steerpaper.published.registry import Paper
from steerpaper.stats import Interval

COLUMNS = [
    *("paper", "quantity", "model", "setting", "published", "published_sd", "published_n", "unit"),
    *("ours", "low", "high", "n", "difference", "verdict", "reason"),
    *("published_low", "published_high"),
]
ALL = "all"


@dataclass(frozen=True)
class Study:
    """What a study's numbers rest on.

    Attributes:
        model: as results name it; `id` and `revision` on the hub, "" where it is from elsewhere.
        values: the configuration's values of keys that protocols name; a key that it lacks is None.
        digests: what its raw data is known by, by configuration key.
    """

    model: str
    id: str
    revision: str
    values: Mapping[str, Any]
    digests: Mapping[str, str]


def verdict_tables(
    papers: Mapping[str, Paper],
    study: Study,
    tables: Mapping[str, pd.DataFrame],
    interval: Interval,
) -> dict[str, pd.DataFrame]:
    """The verdict, and its counts by paper.

    A published number has a row where the study has a number of the same quantity and setting. Of a
    paper that has the study's model, numbers of other models have none; of a paper that does not,
    all have. A number is `not comparable` where model, data, n or protocol differ, with every
    reason, the model first; else inside or outside (`compare.verdict`).

    Args:
        papers: by name.
        tables: the study's tables that there are, by name.
    """
    rows = [
        _row(name, paper, number, found, study, interval)
        for name, paper in papers.items()
        for number in printed_of(paper, study)
        if (found := find(number, paper.quantity_of(number), tables, interval))
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    for column in ("published_n", "n"):
        table[column] = table[column].astype("Int64")
    return {"verdict": table, "verdict_counts": counted(table, list(papers))}


def printed_of(paper: Paper, study: Study) -> list[Number]:
    """A paper's numbers of the study's model; all of them where it has none of this model."""
    names = {name for name, model in paper.models.items() if study.id in model.id}
    return [one for one in paper.numbers if not names or one.model in names]


def counted(table: pd.DataFrame, papers: Sequence[str]) -> pd.DataFrame:
    """How many of each paper's numbers, and of all, are inside, outside and not comparable."""
    rows = []
    for paper in (*papers, ALL):
        here = table if paper == ALL else table[table["paper"] == paper]
        verdicts = [INSIDE, OUTSIDE, NOT_COMPARABLE]
        of = {said.replace(" ", "_"): int((here["verdict"] == said).sum()) for said in verdicts}
        rows.append({"paper": paper, "numbers": len(here), **of})
    return pd.DataFrame(rows)


def _row(
    name: str, paper: Paper, number: Number, found: Found, study: Study, interval: Interval
) -> dict[str, Any]:
    printed = published_interval(
        number.value,
        number.sd,
        number.n,
        paper.quantity_of(number).error,
        interval.confidence,
    )
    said, reason = _said(printed, found, list(reasons(paper, number, found, study)))
    return {
        "paper": name,
        "quantity": number.quantity,
        "model": number.model,
        "setting": number.written,
        "published": number.value,
        "published_sd": number.sd,
        "published_n": number.n,
        "unit": number.unit,
        "ours": found.estimate.value,
        "low": found.estimate.low,
        "high": found.estimate.high,
        "n": found.n,
        "difference": found.estimate.value - number.value,
        "verdict": said,
        "reason": reason,
        "published_low": printed.low,
        "published_high": printed.high,
    }


def _said(printed: Estimate, found: Found, why: Sequence[str]) -> tuple[str, str]:
    if why:
        return NOT_COMPARABLE, "; ".join(why)
    return verdict(printed, found.estimate), UNKNOWN_ERROR if math.isnan(printed.low) else ""


def reasons(paper: Paper, number: Number, found: Found, study: Study) -> Iterator[str]:
    """Why a published number and ours cannot be compared, the model first; none where they can.

    What the paper's protocol says of its model alone, like the block, is left out where the model
    is another one.
    """
    model = paper.models[number.model]
    same = study.id in model.id
    if not same:
        yield f"model: the paper's {model.id[0]}, ours {study.model}"
    elif model.revision and study.revision != model.revision:
        yield f"revision: the paper's {model.revision}, ours {study.revision}"
    for key, digest in paper.data_of(number).items():
        ours = study.digests.get(key)
        if ours != digest:
            yield f"data: {key} is {_short(ours)}, the paper's {_short(digest)}"
    if number.n is not None and found.n is not None and number.n != found.n:
        yield f"n: {found.n}, the paper's {number.n}"
    for key, theirs in paper.protocol_of(number, of_model=same).items():
        value = study.values.get(key)
        if not _equal(value, theirs):
            yield f"{key}: {_text(value)}, the paper's {_text(theirs)}"
    if number.quantity in paper.differs:
        yield paper.differs[number.quantity]
    if found.rows > 1:
        yield f"rows: {found.rows} of this study's numbers have this setting"
    elif math.isnan(found.estimate.low):
        yield "interval: this study's number has none, as it rests on too few"


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12] if len(digest) == 64 else digest


def _equal(ours: Any, theirs: Any) -> bool:
    """Are two values of a key the same? The order of a list says nothing."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return sorted(map(json.dumps, ours)) == sorted(map(json.dumps, theirs))
    return bool(ours == theirs)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace('"', "")
