"""Draw how much each head drives neurons."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.lookups import head_attribution
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(head_attribution(table), job.output, table)


if __name__ == "__main__":
    run(main)
