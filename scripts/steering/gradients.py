"""Read the gradients of a behaviour's dev and test items at every block, for every contrast."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    contrasts: list[str]
    positions: str


def main(job: Job[Params]) -> None:
    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.gradients import item_gradients
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.text import choices
    from steerpaper.steering.gradients import write_gradients
    from steerpaper.workflow.files import read_jsonl

    params = job.params
    lm, manifest = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    for contrast, dev, test, path in zip(
        params["contrasts"],
        job.input["dev"],
        job.input["test"],
        job.output["gradients"],
        strict=True,
    ):
        prompts = {"dev": read_jsonl(dev), "test": read_jsonl(test)}
        found = {
            split: item_gradients(lm, choices(rows), params["positions"], budget)
            for split, rows in prompts.items()
        }
        metadata = {
            "model": manifest["name"],
            "revision": manifest["revision"],
            "behavior": job.wildcards["behavior"],
            "contrast": contrast,
            "of": "log p(matching) - log p(other), nats",
            "positions": params["positions"],
            "dtype": params["run"]["dtype"],
            "config_digest": job.config_digest,
        }
        write_gradients(path, prompts, found, metadata)


if __name__ == "__main__":
    run(main)
