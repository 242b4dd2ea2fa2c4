"""Compare the estimators: how their vectors point, and how they steer."""

from itertools import product

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.steering.estimators import cosines
    from steerpaper.steering.tables import labelled
    from steerpaper.steering.transfer import slopes_by_direction
    from steerpaper.workflow.files import read_table, read_tensors, write_table

    params = job.params
    names = list(product(params["behaviors"], params["contrasts"]))
    steered, pointing = [], []
    for (behavior, contrast), path in zip(names, job.input["vectors"], strict=True):
        table = cosines(read_tensors(path)[0])
        pointing.append(labelled(table, behavior=behavior, contrast=contrast))
    for path in job.input["scores"]:
        scores = read_table(path)
        table = slopes_by_direction(scores, **job.interval).rename(
            columns={"direction": "estimator"}
        )
        labels = {name: scores[name].iloc[0] for name in ("behavior", "contrast")}
        steered.append(labelled(table, **labels))
    write_table(job.output["table"], pd.concat(steered, ignore_index=True))
    write_table(job.output["cosines"], pd.concat(pointing, ignore_index=True))


if __name__ == "__main__":
    run(main)
