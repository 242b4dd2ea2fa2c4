"""Summarise how vectors converge over the draws, all behaviours in one table."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.steering.tables import labelled
    from steerpaper.steering.tables.summaries import convergence_table
    from steerpaper.workflow.files import read_table, write_table

    tables = []
    for behavior, path in zip(job.params["behaviors"], job.input["draws"], strict=True):
        for contrast, draws in read_table(path).groupby("contrast", sort=False):
            table = convergence_table(draws, job.params["confidence"])
            tables.append(labelled(table, behavior=behavior, contrast=str(contrast)))
    write_table(job.output["table"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
