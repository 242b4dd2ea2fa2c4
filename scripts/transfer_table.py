"""Summarise what a block's vector does at other blocks."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.steering.tables import labelled
    from steerpaper.steering.transfer import slopes_by_direction
    from steerpaper.workflow.files import read_json, read_table, write_table

    tables = []
    for path, block in zip(job.input["scores"], job.input["blocks"], strict=True):
        scores = read_table(path)
        table = slopes_by_direction(scores, **job.interval).drop(columns="layers")
        table = table.rename(columns={"direction": "source", "layer": "target"})
        table["chosen"] = table["source"].isin(list(map(str, read_json(block)["layers"])))
        labels = {name: scores[name].iloc[0] for name in ("behavior", "contrast")}
        tables.append(labelled(table, **labels))
    write_table(job.output["table"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
