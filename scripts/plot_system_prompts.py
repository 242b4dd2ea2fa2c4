"""Draw system prompts against multipliers."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.steering_full import system_prompts
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(system_prompts(table), job.output, table)


if __name__ == "__main__":
    run(main)
