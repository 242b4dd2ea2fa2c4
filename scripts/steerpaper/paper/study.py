"""What a manuscript is told beside numbers: the study, its figures, flags, verdicts, versions."""

from collections.abc import Mapping, Sequence
from typing import Any

from steerpaper.workflow.captions import NONE, number
from steerpaper.workflow.pages import flat
from steerpaper.workflow.sources import said

Row = Mapping[str, Any]


def doubts(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Flags of all tables, each once, with how many rows of which tables have it."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        flag = found.setdefault(row["what"], {"sentence": row["sentence"], "tables": {}})
        counts = flag["tables"].setdefault(row["table"], {"rows": 0, "of": 0})
        counts["rows"] += row["rows"]
        counts["of"] += row["of"]
    return [
        {
            "what": what,
            "sentence": flag["sentence"],
            "tables": [{"table": table, **counts} for table, counts in flag["tables"].items()],
        }
        for what, flag in found.items()
    ]


def verdicts(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Published numbers beside ours, as texts: ours with its interval, where it has one.

    Of several reasons why two cannot be compared the first stands for all.
    """
    found = []
    for row in rows:
        text = {key: _text(value) for key, value in row.items()}
        text["estimate"] = text["ours"] or NONE
        if row["ours"] is not None and row["low"] is not None:
            text["estimate"] = f"{text['ours']} ({text['low']} to {text['high']})"
        first, *more = text["reason"].split("; ")
        if more:
            text["reason"] = f"{first}; and {len(more)} more in tables/verdict.csv"
        found.append(text)
    return found


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else number(value)


def described(made: Mapping[str, Any]) -> dict[str, Any]:
    """The study as provenance.json has it: configuration, model, raw data, versions."""
    results = tuple(f"{folder}/{made['study']}/" for folder in ("results", "figures"))
    return {
        "study": made["study"],
        "workflow": made["workflow"],
        "python": made["python"],
        "packages": made["packages"],
        "model": made["model"],
        "config": made["config"],
        "settings": flat(made["config"]),
        "data": {
            name: digest
            for name, digest in made["files"].items()
            if not any(folder in name for folder in results)
        },
        "sources": {name: said(one["source"]) for name, one in made["sources"].items()},
    }
