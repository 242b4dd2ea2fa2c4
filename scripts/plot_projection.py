"""Draw texts coloured by their projection on the vector."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.steering_full import projection
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(projection(table), job.output, table)


if __name__ == "__main__":
    run(main)
