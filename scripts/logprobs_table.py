"""Summarise how steering changes the log-probability of fixed completions."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd
    from steerpaper.steering.logprobs import COLUMNS, logprob_table, prompt_totals

    from steerpaper.steering.tables import labelled
    from steerpaper.workflow.files import read_table_parts, write_table

    tables = []
    for behavior, path in zip(job.params["behaviors"], job.input["logprobs"], strict=True):
        totals = prompt_totals(read_table_parts(path, COLUMNS))
        for contrast, part in totals.groupby("contrast", sort=False):
            table = logprob_table(part, **job.interval)
            tables.append(labelled(table, behavior=behavior, contrast=str(contrast)))
    write_table(job.output["table"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
