"""Draw the fixed completions' change of log-probability."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.logprobs import logprob_shift
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(logprob_shift(table), job.output, table)


if __name__ == "__main__":
    run(main)
