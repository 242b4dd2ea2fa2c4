"""Read a behaviour's activations: the residual stream after every block, for every contrast."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    contrasts: list[str]


def main(job: Job[Params]) -> None:
    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.text import choices
    from steerpaper.steering.activations import read_activations
    from steerpaper.workflow.files import read_jsonl, write_tensors

    lm, manifest = load_manifest(job.input["model"], **job.params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    for contrast, prompts, path in zip(
        job.params["contrasts"], job.input["prompts"], job.output["activations"], strict=True
    ):
        items = choices(read_jsonl(prompts))
        found = read_activations(lm, items, budget)
        metadata = {
            "model": manifest["name"],
            "revision": manifest["revision"],
            "behavior": job.wildcards["behavior"],
            "contrast": contrast,
            "n": len(items),
            "mean_over": "the continuation's tokens",
            "dtype": job.params["run"]["dtype"],
            "config_digest": job.config_digest,
        }
        write_tensors(path, found, metadata)


if __name__ == "__main__":
    run(main)
