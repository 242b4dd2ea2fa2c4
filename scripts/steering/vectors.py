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
    from numpy.typing import NDArray

    from steerpaper.steering.estimators import estimates
    from steerpaper.steering.first_order import random_signs
    from steerpaper.steering.vectors import by_block, random_direction, shuffled_direction
    from steerpaper.workflow.files import SlicedTensors, write_tensors

    behavior, seed = job.wildcards["behavior"], job.params["seed"]
    activations = SlicedTensors(job.input["activations"])
    metadata = activations.metadata
    items, n_layers = activations["matching_norms"][:].shape
    labels = random_signs(job.params["controls"], items, seed, behavior)
    # of the controls what is written is kept, block by block
    found: dict[str, list[NDArray[np.floating]]] = {}
    for both in by_block(activations, range(n_layers)):
        blocks = estimates(*both)
        norms = np.linalg.norm(blocks["mean_difference"], axis=1)
        for number, signs in enumerate(labels):
            shuffled = shuffled_direction(*both, norms, signs)
            blocks[f"shuffled-{number}"] = shuffled.astype(np.float32)
        for name, block in blocks.items():
            found.setdefault(name, []).append(block)
    vectors = {name: np.concatenate(blocks) for name, blocks in found.items()}
    vector = vectors["mean_difference"]
    norms = np.linalg.norm(vector, axis=1)
    for number in range(len(labels)):
        control = random_direction(vector, seed, behavior, number)
        vectors[f"random-{number}"] = control.astype(np.float32)
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
        {name: value.astype(np.float32, copy=False) for name, value in vectors.items()},
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
