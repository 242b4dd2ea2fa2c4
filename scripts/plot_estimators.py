"""Draw how the estimators' vectors steer and point."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.logprobs import estimators
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(estimators(table, read_table(job.input["cosines"])), job.output, table)


if __name__ == "__main__":
    run(main)
