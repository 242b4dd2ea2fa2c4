"""Compile the manuscript: the numbers, the figures with the report's captions, and the text."""

from pathlib import Path
from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        figures: the study's figures: name, contrast (or ""), title, and its tables by argument.
        known_figures: the names of all figures, those of parts that the study has not among them.
        declared, measures, alpha: as for the numbers.
        content: what the user's own manuscript says; "" for ours.
    """

    figures: list[dict[str, Any]]
    known_figures: list[str]
    declared: dict[str, Any]
    measures: list[str]
    alpha: float
    content: str


def main(job: Job[Params]) -> None:
    from steerpaper.paper.compile import Manuscript, pdf
    from steerpaper.paper.numbers import Declared, Reading, names_of_rows
    from steerpaper.paper.study import described, doubts, verdicts
    from steerpaper.steering.measures import MEASURES
    from steerpaper.workflow.captions import rows
    from steerpaper.workflow.files import read_json, whole

    params = job.params
    tables = {Path(path).stem: rows(path) for path in job.input["tables"]}
    declared = {name: Declared(**row) for name, row in params["declared"]["tables"].items()}
    reading = Reading(params["measures"], params["alpha"], params["declared"]["phrases"])
    measure = MEASURES[params["measures"][0]]
    study = described(read_json(job.input["provenance"])) | {
        "measure": {key: getattr(measure, key) for key in ("title", "unit", "text")},
        "rows": names_of_rows(tables, declared, reading),
        "figures": _figures(job),
        "known_figures": params["known_figures"],
        "flags": {
            of: doubts(tables[name]) if name in tables else None
            for of, name in (("steering", "flags"), ("lookups", "lookups_flags"))
        },
        "verdict": verdicts(tables["verdict"]) if "verdict" in tables else None,
    }
    shared = Path(__file__).parents[1] / "paper"
    manuscript = Manuscript(
        path=Path(job.input.get("manuscript") or shared / "paper.typ"),
        shared=shared,
        numbers=read_json(job.input["numbers"]),
        study=study,
        figures={Path(path).name: Path(path) for path in job.input["figures"]},
    )
    made = pdf(manuscript)
    with whole(job.output["pdf"]) as part:
        part.write_bytes(made)


def _figures(job: Job[Params]) -> list[dict[str, Any]]:
    """The study's figures, each with the caption that the report gives it."""
    from steerpaper.paper.captions import blocks, rendered
    from steerpaper.steering.measures import MEASURES
    from steerpaper.workflow.captions import for_captions
    from steerpaper.workflow.files import read_json

    for_captions({name: measure.text for name, measure in MEASURES.items()})
    captions = Path(__file__).parents[1] / "report/captions"
    config = read_json(job.input["provenance"])["config"]
    tables = {Path(path).stem: path for path in job.input["tables"]}
    # by name without the ending
    data = {Path(path).name[: -len(".csv")]: path for path in job.input["data"]}
    found = []
    for figure in job.params["figures"]:
        name, contrast = figure["name"], figure["contrast"]
        label = f"{name}.{contrast}" if contrast else name
        files = {
            "input": {key: tables[table] for key, table in figure["tables"].items()},
            "output": {"csv": data[label]},
            "wildcards": {"contrast": contrast},
        }
        template = (captions / f"{name}.rst").read_text(encoding="utf-8")
        caption = blocks(rendered(template, files, config))
        found.append(
            {
                "name": name,
                "id": label.replace(".", "-"),
                "file": f"{label}.pdf",
                "title": figure["title"],
                "caption": caption,
            }
        )
    return found


if __name__ == "__main__":
    run(main)
