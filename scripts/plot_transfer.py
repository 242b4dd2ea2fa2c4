"""Draw the transfer between blocks."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.logprobs import transfer
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(transfer(table), job.output, table)


if __name__ == "__main__":
    run(main)
