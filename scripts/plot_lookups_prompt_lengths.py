"""Draw prompt lengths before and after truncation."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.lookups import prompt_lengths
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(prompt_lengths(table), job.output, table)


if __name__ == "__main__":
    run(main)
