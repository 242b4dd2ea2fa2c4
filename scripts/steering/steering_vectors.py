"""Make the vectors that steer: the chosen estimator's, normalized and in the chosen unit.

All others, which they are compared with, go through the same scaling.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run

# what is passed on of what is known of the vectors
OF_VECTORS = ("model", "revision", "behavior", "contrast", "n")


class Params(TypedDict):
    """The rule's settings."""

    estimator: str
    normalize: bool
    multiplier_unit: str


def main(job: Job[Params]) -> None:
    contrasts = len(job.output["vectors"])
    for number, output in enumerate(job.output["vectors"]):
        vectors, activations = (job.input[name][number] for name in ("vectors", "activations"))
        # behaviour by behaviour, its contrasts in their order
        scale(job, vectors, activations, job.input["all"][number::contrasts], output)


def scale(
    job: Job[Params], vectors_path: str, activations_path: str, every: Sequence[str], output: str
) -> None:
    """The vectors of one contrast; one at a time is held.

    Args:
        every: all behaviours' vectors, where they are to have one norm.
    """
    import numpy as np

    from steerpaper.steering.conditions import AT_RESIDUAL_NORM, BEHAVIOR
    from steerpaper.steering.vectors import mean_norms, residual_norms, scaled_to, zero_blocks
    from steerpaper.workflow.files import SlicedTensors, read_tensors, write_tensors

    params = job.params
    vectors, metadata = read_tensors(vectors_path)
    vector = vectors[params["estimator"]]
    norms = np.linalg.norm(vector, axis=1)
    if params["normalize"]:
        # the behaviour's own vectors are among all
        norms = mean_norms([SlicedTensors(one)[params["estimator"]][:] for one in every])
    activations = SlicedTensors(activations_path)
    of_residual = residual_norms(activations["matching_norms"][:], activations["other_norms"][:])
    if params["multiplier_unit"] == "residual":
        norms = of_residual
    if zero := zero_blocks(vector):
        log.warning(
            "%s (%s): the vector has norm zero at block %s: steering there does nothing",
            job.wildcards["behavior"],
            metadata["contrast"],
            ", ".join(map(str, zero)),
        )
    # estimators among them, for their comparison
    directions = {BEHAVIOR: vector} | vectors
    scaled = {name: scaled_to(value, norms) for name, value in directions.items()}
    scaled[AT_RESIDUAL_NORM] = scaled_to(vector, of_residual)
    write_tensors(
        output,
        {name: value.astype(np.float32) for name, value in scaled.items()},
        {key: metadata[key] for key in OF_VECTORS} | params,
    )


if __name__ == "__main__":
    run(main)
