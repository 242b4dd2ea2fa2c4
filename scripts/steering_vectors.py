"""Make the vector that steers: the chosen estimator's, normalised and in the chosen unit."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import numpy as np

    from steerpaper.files import read_tensors, write_tensors
    from steerpaper.steering.conditions import BEHAVIOR
    from steerpaper.steering.estimators import mean_norms, residual_norms, scaled_to

    params = job.params
    vectors, metadata = read_tensors(job.input["vectors"])
    vector = vectors[params["estimator"]]
    norms = np.linalg.norm(vector, axis=1)
    if params["normalise"]:
        # the behaviour's own vectors are among all
        norms = mean_norms([read_tensors(one)[0][params["estimator"]] for one in job.input["all"]])
    if params["multiplier_unit"] == "residual":
        activations, _ = read_tensors(job.input["activations"])
        norms = residual_norms(activations["matching"], activations["other"])
    directions = {BEHAVIOR: vector} | {
        name: value for name, value in vectors.items() if name.startswith("random-")
    }
    write_tensors(
        job.output["vectors"],
        {name: scaled_to(value, norms).astype(np.float32) for name, value in directions.items()},
        {
            **{key: metadata[key] for key in ("model", "revision", "behavior", "contrast", "n")},
            **{key: params[key] for key in ("estimator", "normalise", "multiplier_unit")},
        },
    )


if __name__ == "__main__":
    run(main)
