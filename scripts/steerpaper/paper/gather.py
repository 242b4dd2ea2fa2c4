"""From a study's files to its manuscript: tables, figures with captions, provenance, numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steerpaper.paper.captions import blocks, rendered
from steerpaper.paper.compile import Manuscript
from steerpaper.paper.numbers import names_of_rows, reading
from steerpaper.paper.study import described, doubts, verdicts
from steerpaper.steering.measures import MEASURES
from steerpaper.workflow.captions import for_captions, rows
from steerpaper.workflow.files import read_json

WORKFLOW = Path(__file__).parents[3]
FLAGS = {"steering": "flags", "lookups": "lookups_flags"}


def gathered(inputs: Mapping[str, Any], params: Mapping[str, Any]) -> Manuscript:
    """The manuscript of a study, the workflow's own where none is given.

    Args:
        inputs: files of the study: tables, data (of figures), figures, numbers, provenance, and the
            user's manuscript where there is one.
        params: as `reading`; figures, known_figures and few.
    """
    made = read_json(inputs["provenance"])
    tables = {Path(path).stem: path for path in inputs["tables"]}
    read = {name: rows(path) for name, path in tables.items()}
    measure = MEASURES[params["measures"][0]]
    data = {Path(path).name.removesuffix(".csv"): path for path in inputs["data"]}
    study = described(made) | {
        "measure": {key: getattr(measure, key) for key in ("title", "unit", "text")},
        "rows": names_of_rows(read, *reading(params)),
        "figures": figures(params["figures"], tables, data, made["config"], params["few"]),
        "known_figures": params["known_figures"],
        "flags": {
            study: doubts(read[name]) if name in read else None for study, name in FLAGS.items()
        },
        "verdict": verdicts(read["verdict"]) if "verdict" in read else None,
    }
    return Manuscript(
        path=Path(inputs.get("manuscript") or WORKFLOW / "paper/paper.typ"),
        shared=WORKFLOW / "paper",
        numbers=read_json(inputs["numbers"]),
        study=study,
        figures={Path(path).name: Path(path) for path in inputs["figures"]},
    )


def figures(
    declared: Sequence[Mapping[str, Any]],
    tables: Mapping[str, str],
    data: Mapping[str, str],
    config: Mapping[str, Any],
    few: int,
) -> list[dict[str, Any]]:
    """Figures as the template takes them, each with the caption that the report gives it.

    Args:
        declared: name, contrast ("" where there is one figure for all), title, and the tables that
            the figure is drawn from, by argument.
        tables, data: CSV files by name, and what figures show by figure.
        few: behaviours; figures of more have another form.
    """
    for_captions({name: measure.text for name, measure in MEASURES.items()}, few)
    found = []
    for figure in declared:
        name, contrast = figure["name"], figure["contrast"]
        file = f"{name}.{contrast}" if contrast else name
        job = {
            "input": {key: tables[table] for key, table in figure["tables"].items()},
            "output": {"csv": data[file]},
            "wildcards": {"contrast": contrast},
        }
        template = (WORKFLOW / f"report/captions/{name}.rst").read_text(encoding="utf-8")
        found.append(
            {
                "name": name,
                "id": file.replace(".", "-"),
                "file": f"{file}.pdf",
                "title": figure["title"],
                "caption": blocks(rendered(template, job, config)),
            }
        )
    return found
