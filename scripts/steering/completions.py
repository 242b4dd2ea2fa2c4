"""Sample steered answers to a behaviour's open questions."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    questions: int
    multipliers: list[float]
    samples: int
    max_new_tokens: int
    temperature: float
    top_p: float
    positions: str
    seed: int


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.generate import Decoding, complete
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.beyond import with_beyond
    from steerpaper.steering.completions import sample_plan
    from steerpaper.steering.conditions import chosen_layers
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors, write_table

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    vectors, _ = read_tensors(job.input["vectors"])
    prompts = read_jsonl(job.input["prompts"])[: params["questions"]]
    plan = sample_plan(
        {prompt["id"]: prompt["ids"] for prompt in prompts},
        layers=chosen_layers(read_json(job.input["block"]), lm.n_layers),
        multipliers=params["multipliers"],
        samples=params["samples"],
        seed=params["seed"],
        behavior=job.wildcards["behavior"],
        positions=params["positions"],
    )
    decoding = Decoding(
        params["max_new_tokens"],
        params["temperature"],
        params["top_p"],
        budget,
        "steering.completions.max_new_tokens",
    )
    completions = complete(lm, [request for _, request in plan], vectors, decoding)
    rows = [
        {**row, "text": lm.tokenizer.decode(ids, skip_special_tokens=True)}
        for (row, _), ids in zip(plan, completions, strict=True)
    ]
    lengths = [
        len(request.prompt) + len(ids) for (_, request), ids in zip(plan, completions, strict=True)
    ]
    write_table(job.output["samples"], with_beyond(pd.DataFrame(rows), lm, lengths))


if __name__ == "__main__":
    run(main)
