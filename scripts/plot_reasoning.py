"""Draw steering around a chain of thought."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.steering_full import reasoning
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(reasoning(table), job.output, table)


if __name__ == "__main__":
    run(main)
