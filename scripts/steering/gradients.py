"""Differentiate the score of dev and test items by a vector that is added after any block."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    positions: str


def main(job: Job[Params]) -> None:
    import numpy as np

    from steerpaper.engine.gradients import item_gradients
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.text import choices
    from steerpaper.workflow.files import read_jsonl, write_tensors

    positions, budget = job.params["positions"], job.batch_tokens
    lm, manifest = load_manifest(job.input["model"], **job.params["run"], threads=job.threads)
    for path, dev, test in zip(
        job.output["gradients"], job.input["dev"], job.input["test"], strict=True
    ):
        found = {
            split: item_gradients(
                lm, choices(read_jsonl(prompts)), positions=positions, budget=budget
            )
            for split, prompts in (("dev", dev), ("test", test))
        }
        write_tensors(
            path,
            {split: values.astype(np.float32) for split, values in found.items()},
            {
                "model": manifest["name"],
                "revision": manifest["revision"],
                "behavior": job.wildcards["behavior"],
                "of": "the logit difference of every item, in the prompt files' order, by a vector "
                "added after each block",
                "positions": positions,
                "dtype": job.params["run"]["dtype"],
            },
        )


if __name__ == "__main__":
    run(main)
