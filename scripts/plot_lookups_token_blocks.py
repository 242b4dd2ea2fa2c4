"""Draw in which block the neuron most congruent with each token is."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.lookups import token_blocks
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(token_blocks(table), job.output, table)


if __name__ == "__main__":
    run(main)
