"""Draw in which block the neuron most congruent with each token is."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.lookups import token_blocks
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    save(token_blocks(table), job.output, table)


if __name__ == "__main__":
    run(main)
