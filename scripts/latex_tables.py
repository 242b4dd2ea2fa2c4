"""Write the headline tables as LaTeX."""

from pathlib import Path

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.steering.tables.latex import HEADLINES, latex_table
    from steerpaper.workflow.files import read_table, whole

    for source, target in zip(job.input["tables"], job.output["tables"], strict=True):
        name = Path(source).stem
        with whole(target) as part:
            part.write_text(
                latex_table(read_table(source), HEADLINES[name], name), encoding="utf-8"
            )


if __name__ == "__main__":
    run(main)
