"""Make the vector that steers: the chosen estimator's, normalized and in the chosen unit.

All others, which it is compared with, go through the same scaling.
"""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    estimator: str
    normalize: bool
    multiplier_unit: str


def main(job: Job[Params]) -> None:
    import numpy as np

    from steerpaper.steering.conditions import AT_RESIDUAL_NORM, BEHAVIOR
    from steerpaper.steering.vectors import mean_norms, residual_norms, scaled_to, zero_blocks
    from steerpaper.workflow.files import SlicedTensors, read_tensors, write_tensors

    params = job.params
    vectors, metadata = read_tensors(job.input["vectors"])
    vector = vectors[params["estimator"]]
    norms = np.linalg.norm(vector, axis=1)
    if params["normalize"]:
        # the behaviour's own vectors are among all
        norms = mean_norms([SlicedTensors(one)[params["estimator"]][:] for one in job.input["all"]])
    activations = SlicedTensors(job.input["activations"])
    of_residual = residual_norms(activations["matching_norms"][:], activations["other_norms"][:])
    if params["multiplier_unit"] == "residual":
        norms = of_residual
    if zero := zero_blocks(vector):
        log.warning(
            "%s (%s): the vector has norm zero at block %s: steering there does nothing",
            job.wildcards["behavior"],
            job.wildcards["contrast"],
            ", ".join(map(str, zero)),
        )
    # estimators among them, for their comparison
    directions = {BEHAVIOR: vector} | vectors
    scaled = {name: scaled_to(value, norms) for name, value in directions.items()}
    scaled[AT_RESIDUAL_NORM] = scaled_to(vector, of_residual)
    write_tensors(
        job.output["vectors"],
        {name: value.astype(np.float32) for name, value in scaled.items()},
        {
            **{key: metadata[key] for key in ("model", "revision", "behavior", "contrast", "n")},
            **params,
        },
    )


if __name__ == "__main__":
    run(main)
