"""Summarise the cost of steering, all behaviours in one table."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.steering.tables import labelled
    from steerpaper.steering.tables.summaries import cost_table
    from steerpaper.workflow.files import read_table, write_table

    tables = []
    for behavior, path in zip(job.params["behaviors"], job.input["scores"], strict=True):
        table = cost_table(read_table(path), **job.interval)
        tables.append(labelled(table, behavior=behavior))
    write_table(job.output["table"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
