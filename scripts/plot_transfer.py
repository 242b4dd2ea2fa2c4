"""Draw the transfer between blocks."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.logprobs import transfer
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(transfer(table), job.output, table)


if __name__ == "__main__":
    run(main)
