"""Draw completions side by side."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.steering_full import completions
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(completions(table), job.output, table)


if __name__ == "__main__":
    run(main)
