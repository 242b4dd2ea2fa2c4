"""Draw how much each head drives neurons."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.lookups import head_attribution
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(head_attribution(table), job.output, table)


if __name__ == "__main__":
    run(main)
