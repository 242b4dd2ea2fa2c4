"""Summarise what a block's vector does at other blocks."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_json, read_table, write_table
    from steerpaper.steering.transfer import slopes_by_direction

    interval = {key: job.params[key] for key in ("seed", "resamples", "confidence")}
    tables = []
    for path, block in zip(job.input["scores"], job.input["blocks"], strict=True):
        scores = read_table(path)
        table = slopes_by_direction(scores, **interval).drop(columns="layers")
        table = table.rename(columns={"direction": "source", "layer": "target"})
        table["chosen"] = table["source"].isin(list(map(str, read_json(block)["layers"])))
        table.insert(0, "contrast", scores["contrast"].iloc[0])
        table.insert(0, "behavior", scores["behavior"].iloc[0])
        tables.append(table)
    write_table(job.output["table"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
