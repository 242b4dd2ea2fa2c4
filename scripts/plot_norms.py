"""Draw the norms of vectors and residual stream by block."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.geometry import norms
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(norms(table), job.output, table)


if __name__ == "__main__":
    run(main)
