"""Score the test items with every estimator's vector, at its own block and at the chosen one."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    estimators: list[str]
    layers: object
    prompts: int
    multipliers: list[float]
    positions: str


def main(job: Job[Params]) -> None:
    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.layers import resolve_layers
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.comparison import by_place, of_prompts, places, with_controls
    from steerpaper.steering.conditions import chosen_layers, doses
    from steerpaper.steering.scores import score_prompts, with_shares, write_scores
    from steerpaper.steering.vectors import residual_norms
    from steerpaper.workflow.files import SlicedTensors, read_json, read_jsonl, read_tensors

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    vectors, _ = read_tensors(job.input["vectors"])
    gradients, _ = read_tensors(job.input["gradients"])
    activations = SlicedTensors(job.input["activations"])
    chosen = chosen_layers(read_json(job.input["block"]), lm.n_layers)
    # those among which the chosen one was found
    blocks = resolve_layers(params["layers"], lm.n_layers, "steering.sweep.layers")
    where = places(gradients["dev"], vectors, params["estimators"], blocks, chosen)
    wanted = [
        condition
        for name, layers in dict.fromkeys((name, layers) for (name, _), layers in where.items())
        for condition in doses(layers, name, params["multipliers"], params["positions"])
    ]
    test = read_jsonl(job.input["prompts"])
    prompts = balanced_part(test, params["prompts"])
    table = score_prompts(lm, prompts, vectors, wanted, budget=budget)
    residual = residual_norms(activations["matching_norms"][:], activations["other_norms"][:])
    table = with_shares(table, residual, wanted)
    table = with_controls(table, of_prompts(gradients["test"], test, prompts), vectors, wanted)
    write_scores(job.output["scores"], by_place(table, where))


if __name__ == "__main__":
    run(main)
