"""Draw the distribution of steerability over items."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.steering_full import steerability
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    items = read_table(job.input["slopes"])
    save(steerability(items, read_table(job.input["table"])), job.output, items)


if __name__ == "__main__":
    run(main)
