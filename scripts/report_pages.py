"""Write every table, and how the results were made, as pages that a browser shows."""

from pathlib import Path
from typing import TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings: the folder of benchmarks, and what each page shows."""

    benchmarks: str
    about: dict[str, str]


def main(job: Job[Params]) -> None:
    from steerpaper.workflow.files import read_json, whole
    from steerpaper.workflow.pages import flat, read_cells, table_page
    from steerpaper.workflow.run_times import Times, run_times
    from steerpaper.workflow.sources import said

    made = read_json(job.input["provenance"])
    versions = {"workflow": made["workflow"], "python": made["python"], **made["packages"]}
    fetched = {name: said(one["source"]) for name, one in made["sources"].items()}
    times = run_times(Path(job.params["benchmarks"]))
    checks = read_json(job.input["engine"])["checks"]
    shown = {
        "configuration": (["key", "value"], flat(made["config"])),
        "versions": (["package", "version"], flat(versions)),
        "model": (["key", "value"], flat(made["model"])),
        "engine": (list(checks[0]), [[str(one) for one in row.values()] for row in checks]),
        "files": (
            ["file", "sha256", "fetched from"],
            [[name, digest, fetched.get(name, "")] for name, digest in made["files"].items()],
        ),
        "run_times": (
            ["rule", *Times().cells()],
            [[rule, *one.cells().values()] for rule, one in times.items()],
        ),
    }
    pages = {job.output[name]: table for name, table in shown.items()}
    for table, page in zip(job.input["tables"], job.output["tables"], strict=True):
        pages[page] = read_cells(table)
    template = (Path(__file__).parents[1] / "report/table.html").read_text(encoding="utf-8")
    about = job.params["about"]
    for page, (columns, cells) in pages.items():
        name = Path(page).stem
        with whole(page) as part:
            part.write_text(
                table_page(template, name, about.get(name, ""), columns, cells), encoding="utf-8"
            )


if __name__ == "__main__":
    run(main)
