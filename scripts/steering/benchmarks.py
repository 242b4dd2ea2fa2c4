"""Ask the steered model a benchmark's questions: log-probabilities of their choices."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    multipliers: list[float]
    random: dict[str, object]
    positions: str


def main(job: Job[Params]) -> None:
    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.finite import finite
    from steerpaper.steering.benchmarks import benchmark_rows, longest, score_choices
    from steerpaper.steering.beyond import with_beyond
    from steerpaper.steering.conditions import chosen_layers, conditions
    from steerpaper.steering.scores import with_norms
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors, write_table

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = [chosen_layers(read_json(job.input["block"]), lm.n_layers)]
    controls = {"random": params["random"]}
    wanted = conditions(layers, params["multipliers"], controls, params["positions"])
    prompts = read_jsonl(job.input["prompts"])
    scores = score_choices(lm, prompts, vectors, wanted, budget=budget)
    table = with_norms(benchmark_rows(prompts, wanted, scores), vectors, wanted)
    table = with_beyond(table, lm, list(map(longest, prompts)))
    path = job.output["scores"]
    finite(path, table, ["logprob", "logprob_wrong", "p_correct"])
    write_table(path, table)


if __name__ == "__main__":
    run(main)
