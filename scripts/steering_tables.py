"""Summarise all scores: means and slopes with bootstrap intervals, anti-steerable shares."""

from itertools import product

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.steering import tables
    from steerpaper.workflow.files import read_json, read_table, write_table

    found: dict[str, list[pd.DataFrame]] = {name: [] for name in job.output}
    for (behavior, contrast), path, block_path in zip(
        product(job.params["behaviors"], job.params["contrasts"]),
        job.input["scores"],
        job.input["blocks"],
        strict=True,
    ):
        scores = read_table(path)
        block = read_json(block_path)
        dev, test = (scores[scores["split"] == split] for split in ("dev", "test"))
        parts = {
            "layer_sweep": tables.slope_table(dev, **job.interval),
            "heatmap": tables.change_table(dev, **job.interval),
            "dose_response": tables.change_table(test, **job.interval),
            "steerability": tables.slope_table(test, **job.interval).assign(chosen=block["chosen"]),
            "steerability_items": tables.item_slopes(test),
        }
        for name, table in parts.items():
            found[name].append(tables.labelled(table, behavior=behavior, contrast=contrast))
    for name, path in job.output.items():
        write_table(path, pd.concat(found[name], ignore_index=True))


if __name__ == "__main__":
    run(main)
