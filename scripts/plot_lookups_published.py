"""Draw the published figures beside ours."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.lookups import published
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(published(table), job.output, table)


if __name__ == "__main__":
    run(main)
