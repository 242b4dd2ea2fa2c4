"""Compare the estimators: how their vectors point, and how they steer."""

from itertools import product

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_table, read_tensors, write_table
    from steerpaper.steering.estimators import cosines
    from steerpaper.steering.transfer import slopes_by_direction

    params = job.params
    interval = {key: params[key] for key in ("seed", "resamples", "confidence")}
    names = list(product(params["behaviors"], params["contrasts"]))
    steered, pointing = [], []
    for (behavior, contrast), path in zip(names, job.input["vectors"], strict=True):
        table = cosines(read_tensors(path)[0])
        table.insert(0, "contrast", contrast)
        table.insert(0, "behavior", behavior)
        pointing.append(table)
    for path in job.input["scores"]:
        scores = read_table(path)
        table = slopes_by_direction(scores, **interval).rename(columns={"direction": "estimator"})
        table.insert(0, "contrast", scores["contrast"].iloc[0])
        table.insert(0, "behavior", scores["behavior"].iloc[0])
        steered.append(table)
    write_table(job.output["table"], pd.concat(steered, ignore_index=True))
    write_table(job.output["cosines"], pd.concat(pointing, ignore_index=True))


if __name__ == "__main__":
    run(main)
