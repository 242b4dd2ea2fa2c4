"""Draw what ablations do to the next token."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.lookups import ablations
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(ablations(table, read_table(job.input["ablations"])), job.output, table)


if __name__ == "__main__":
    run(main)
