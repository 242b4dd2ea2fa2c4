"""Draw the norms of vectors and residual stream by block."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.geometry import norms
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(norms(table), job.output, table)


if __name__ == "__main__":
    run(main)
