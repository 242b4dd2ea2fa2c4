"""Score the test items with one block's vector added at other blocks."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    layers: object
    prompts: int
    multipliers: list[float]
    norm: str
    positions: str


def main(job: Job[Params]) -> None:
    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.layers import resolve_layers
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.comparison import of_prompts, with_controls
    from steerpaper.steering.conditions import BEHAVIOR, chosen_layers
    from steerpaper.steering.scores import score_prompts, write_scores
    from steerpaper.steering.transfer import transfer_conditions, transferred
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    vectors, _ = read_tensors(job.input["vectors"])
    named = resolve_layers(params["layers"], lm.n_layers, "steering.transfer.layers")
    layers = sorted({*named, *chosen_layers(read_json(job.input["block"]), lm.n_layers)})
    wanted = transfer_conditions(layers, layers, params["multipliers"], params["positions"])
    gradients, _ = read_tensors(job.input["gradients"])
    test = read_jsonl(job.input["prompts"])
    prompts = balanced_part(test, params["prompts"])
    directions = transferred(vectors[BEHAVIOR], layers, params["norm"])
    table = score_prompts(lm, prompts, directions, wanted, budget=budget)
    of_items = of_prompts(gradients["test"], test, prompts)
    write_scores(job.output["scores"], with_controls(table, of_items, directions, wanted))


if __name__ == "__main__":
    run(main)
