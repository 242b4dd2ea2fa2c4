"""Sample a chain of thought, steered or not, and score the two answers that follow it."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    prompts: int
    samples: int
    multipliers: list[float]
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


def main(job: Job[Params]) -> None:
    import numpy as np

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.generate import Decoding, complete
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.beyond import with_beyond
    from steerpaper.steering.conditions import BEHAVIOR, chosen_layers
    from steerpaper.steering.reasoning import (
        chain_table,
        chains,
        questions_of,
        reasoning_plan,
        score_chains,
    )
    from steerpaper.steering.scores import norm_at, write_scores
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors

    params, room = job.params, job.params["max_new_tokens"]
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = chosen_layers(read_json(job.input["block"]), lm.n_layers)
    rows = balanced_part(read_jsonl(job.input["prompts"]), params["prompts"])
    questions = questions_of(rows, room=room, context=lm.context)
    plan = reasoning_plan(
        questions,
        layers=layers,
        multipliers=params["multipliers"],
        samples=params["samples"],
        seed=params["seed"],
        behavior=job.wildcards["behavior"],
    )
    key = "steering.reasoning.max_new_tokens"
    decoding = Decoding(room, params["temperature"], params["top_p"], budget, key)
    reasonings = complete(lm, [request for _, _, request in plan], vectors, decoding)
    made = chains(plan, reasonings, params["multipliers"])
    wanted = [chain for _, chain in made]
    scores = score_chains(lm, questions, wanted, vectors[BEHAVIOR], layers, budget)
    table = chain_table(lm.tokenizer, rows, made, scores, layers, params["seed"])
    norm = norm_at(vectors[BEHAVIOR], layers)
    table["norm"] = np.where(table["steered"] == "none", np.nan, norm)
    lengths = [questions[one.question].length + len(one.reasoning) for one in wanted]
    write_scores(job.output["chains"], with_beyond(table, lm, lengths))


if __name__ == "__main__":
    run(main)
