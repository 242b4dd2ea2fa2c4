"""Draw the fixed completions' change of log-probability."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.logprobs import logprob_shift
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(logprob_shift(table), job.output, table)


if __name__ == "__main__":
    run(main)
