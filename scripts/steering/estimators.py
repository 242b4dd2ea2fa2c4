"""Score the test items with every estimator's vector at the chosen block."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    estimators: list[str]
    prompts: int
    multipliers: list[float]
    positions: str


def main(job: Job[Params]) -> None:
    from steerpaper.engine.condition import Condition
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.conditions import chosen_layers
    from steerpaper.steering.scores import score_prompts, write_scores
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], threads=job.threads)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = chosen_layers(read_json(job.input["block"]), lm.n_layers)
    wanted = [
        Condition(layers, name, float(multiplier), positions=params["positions"])
        for name in (*params["estimators"], "random-0")
        if name in vectors
        for multiplier in sorted(params["multipliers"])
        if multiplier
    ]
    prompts = balanced_part(read_jsonl(job.input["prompts"]), params["prompts"])
    table = score_prompts(lm, prompts, vectors, wanted, budget=job.batch_tokens)
    write_scores(job.output["scores"], table)


if __name__ == "__main__":
    run(main)
