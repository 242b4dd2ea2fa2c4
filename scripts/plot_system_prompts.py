"""Draw system prompts against multipliers."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.steering_full import system_prompts
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(system_prompts(table), job.output, table)


if __name__ == "__main__":
    run(main)
