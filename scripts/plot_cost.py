"""Draw the cost of steering."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.steering_full import cost
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(cost(table), job.output, table)


if __name__ == "__main__":
    run(main)
