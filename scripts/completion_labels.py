"""Count how many of the steered completions are on either side, by the behaviours' markers."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.steering.about import read_about
    from steerpaper.steering.labels import label_shares
    from steerpaper.steering.tables import labelled
    from steerpaper.workflow.files import read_table, write_table

    abouts = dict(zip(job.params["described"], job.input["abouts"], strict=True))
    tables = []
    for behavior, samples in zip(job.params["behaviors"], job.input["samples"], strict=True):
        markers = read_about(abouts.get(behavior)).markers
        table = label_shares(read_table(samples), markers, **job.interval)
        tables.append(labelled(table, behavior=behavior))
    write_table(job.output["table"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
