"""Draw steering around a chain of thought."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.steering_full import reasoning
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(reasoning(table), job.output, table)


if __name__ == "__main__":
    run(main)
