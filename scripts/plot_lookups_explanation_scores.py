"""Draw the distribution of head explanation scores."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.lookups import explanation_scores
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(explanation_scores(table, read_table(job.input["explanations"])), job.output, table)


if __name__ == "__main__":
    run(main)
