"""Draw the published figures beside ours."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.lookups import published
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(published(table), job.output, table)


if __name__ == "__main__":
    run(main)
