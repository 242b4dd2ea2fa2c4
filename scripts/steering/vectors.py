"""Compute a behaviour's steering vectors from its activations, contrast by contrast."""

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
    for path, output in zip(job.input["activations"], job.output["vectors"], strict=True):
        make_vectors(job, path, output)


def make_vectors(job: Job[Params], path: str, output: str) -> None:
    """Those of one contrast; one at a time is held."""
    import numpy as np

    from steerpaper.steering.controls import with_controls
    from steerpaper.workflow.files import SlicedTensors, write_tensors

    behavior, seed = job.wildcards["behavior"], job.params["seed"]
    activations = SlicedTensors(path)
    metadata = activations.metadata
    vectors = with_controls(activations, job.params["controls"], seed, behavior)
    norms = np.linalg.norm(vectors["mean_difference"], axis=1)
    log.info(
        "%s (%s): vector of %s items, norm %.3g (block 0) to %.3g (block %d)",
        behavior,
        metadata["contrast"],
        metadata["n"],
        norms[0],
        norms[-1],
        len(norms) - 1,
    )
    method = (
        "mean over all items of matching - other (mean_difference); every other estimator's "
        "direction points to matching and has mean_difference's norm; so have random-k, random "
        "directions, and shuffled-k, mean differences of labels dealt anew"
    )
    own = {"method": method, "seed": seed, "config_digest": job.config_digest}
    write_tensors(output, vectors, metadata | own)


if __name__ == "__main__":
    run(main)
