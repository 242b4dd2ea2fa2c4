"""Write every number that a manuscript may name, as JSON and as LaTeX macros."""

from pathlib import Path
from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings: report/numbers.yaml, the measures, and the p that is small."""

    declared: dict[str, Any]
    measures: list[str]
    alpha: float


def main(job: Job[Params]) -> None:
    from dataclasses import asdict

    from steerpaper.paper.latex import macros
    from steerpaper.paper.numbers import all_numbers, reading
    from steerpaper.workflow.captions import rows
    from steerpaper.workflow.files import whole, write_json

    tables = {Path(path).stem: rows(path) for path in job.input["tables"]}
    numbers = all_numbers(tables, *reading(job.params))
    write_json(job.output["json"], {name: asdict(number) for name, number in numbers.items()})
    with whole(job.output["tex"]) as part:
        part.write_text(macros(numbers), encoding="utf-8")


if __name__ == "__main__":
    run(main)
