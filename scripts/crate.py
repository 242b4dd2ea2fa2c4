"""Describe the study as an RO-Crate: what was made, from what, by which workflow."""

from pathlib import Path

from steerpaper.workflow.job import Job, run


def main(job: Job[dict[str, object]]) -> None:
    from steerpaper.workflow.crate import described
    from steerpaper.workflow.files import read_json, write_json

    workflow = Path(__file__).parents[1]
    citation = workflow / "CITATION.cff"
    write_json(job.output["crate"], described(read_json(job.input["provenance"]), citation))


if __name__ == "__main__":
    run(main)
