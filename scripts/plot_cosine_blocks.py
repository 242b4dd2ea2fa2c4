"""Draw cosine_blocks of one contrast."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.geometry import cosine_blocks
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    table = table[table["contrast"] == job.wildcards["contrast"]]
    save(cosine_blocks(table), job.output, table)


if __name__ == "__main__":
    run(main)
