"""Score the dev items under steering at a shard of the chosen blocks, for every contrast."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    layers: object
    multipliers: list[float]
    positions: str


def main(job: Job[Params]) -> None:
    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.layers import resolve_layers, shard_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.conditions import conditions
    from steerpaper.steering.scores import score_prompts, write_scores
    from steerpaper.workflow.files import read_jsonl, read_tensors

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    layers = resolve_layers(params["layers"], lm.n_layers, "steering.sweep.layers")
    layers = shard_of(layers, int(job.wildcards["shard"]), int(job.wildcards["shards"]))
    wanted = conditions(layers, params["multipliers"], {}, params["positions"])
    for path, prompts, vectors in zip(
        job.output["scores"], job.input["prompts"], job.input["vectors"], strict=True
    ):
        directions, _ = read_tensors(vectors)
        scores = score_prompts(lm, read_jsonl(prompts), directions, wanted, budget=budget)
        write_scores(path, scores)


if __name__ == "__main__":
    run(main)
