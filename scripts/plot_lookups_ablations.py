"""Draw what ablations do to the next token."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.lookups import ablations
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(ablations(table, read_table(job.input["ablations"])), job.output, table)


if __name__ == "__main__":
    run(main)
