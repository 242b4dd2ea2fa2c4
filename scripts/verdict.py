"""Hold what papers printed against the study's own numbers."""

from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        papers: their names, in the order of their files.
        tables: the inputs that are the study's tables.
        model, id, revision: the study's model, and its place on the hub if it has one.
        values: the configuration's values of keys that protocols name.
        digests: what raw data is known by, by key.
        interval: how intervals are made.
        data: what the papers' files say.
    """

    papers: list[str]
    tables: list[str]
    model: str
    id: str
    revision: str
    values: dict[str, Any]
    digests: dict[str, str]
    interval: dict[str, Any]
    data: dict[str, str]


def main(job: Job[Params]) -> None:
    from steerpaper.published.registry import read_paper, read_registry
    from steerpaper.published.table import Study, verdict_tables
    from steerpaper.stats import Interval
    from steerpaper.workflow.files import read_table, write_table

    params = job.params
    registry = read_registry(job.input["registry"])
    files = zip(params["papers"], job.input["numbers"], job.input["abouts"], strict=True)
    papers = {name: read_paper(numbers, about, registry) for name, numbers, about in files}
    study = Study(
        params["model"], params["id"], params["revision"], params["values"], params["digests"]
    )
    tables = {name: read_table(job.input[name]) for name in params["tables"]}
    made = verdict_tables(papers, study, tables, Interval(**params["interval"]))
    for name, table in made.items():
        write_table(job.output[name], table)


if __name__ == "__main__":
    run(main)
