"""Draw how the estimators' vectors steer and point."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.logprobs import estimators
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(estimators(table, read_table(job.input["cosines"])), job.output, table)


if __name__ == "__main__":
    run(main)
