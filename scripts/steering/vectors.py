"""Compute a behaviour's steering vectors from its activations."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    controls: int
    seed: int


def main(job: Job[Params]) -> None:
    import numpy as np

    from steerpaper.steering.estimators import estimates
    from steerpaper.steering.first_order import random_signs
    from steerpaper.steering.vectors import random_direction, shuffled_direction
    from steerpaper.workflow.files import read_tensors, write_tensors

    behavior, seed = job.wildcards["behavior"], job.params["seed"]
    activations, metadata = read_tensors(job.input["activations"])
    vectors = estimates(activations["matching"], activations["other"])
    vector = vectors["mean_difference"]
    norms = np.linalg.norm(vector, axis=1)
    draws = job.params["controls"]
    sides = activations["matching"], activations["other"]
    for number, signs in enumerate(random_signs(draws, len(sides[0]), seed, behavior)):
        vectors[f"random-{number}"] = random_direction(vector, seed, behavior, number)
        vectors[f"shuffled-{number}"] = shuffled_direction(*sides, norms, signs)
    log.info(
        "%s: vector of %s items, norm %.3g (block 0) to %.3g (block %d)",
        behavior,
        metadata["n"],
        norms[0],
        norms[-1],
        len(norms) - 1,
    )
    write_tensors(
        job.output["vectors"],
        {name: value.astype(np.float32) for name, value in vectors.items()},
        {
            **metadata,
            "method": "mean over all items of matching - other (mean_difference); every other "
            "estimator's direction points to matching and has mean_difference's norm; so have "
            "random-k, random directions, and shuffled-k, mean differences of labels dealt anew",
            "seed": seed,
            "config_digest": job.config_digest,
        },
    )


if __name__ == "__main__":
    run(main)
