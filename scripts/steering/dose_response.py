"""Score the test items at the chosen block under many multipliers, and join dev's scores."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    multipliers: list[float]
    at_residual_norm: list[float]
    random: dict[str, object]
    shuffled: dict[str, object]
    positions: str


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.conditions import (
        AT_RESIDUAL_NORM,
        chosen_layers,
        conditions,
        doses,
    )
    from steerpaper.steering.scores import score_prompts, write_scores
    from steerpaper.workflow.files import (
        read_json,
        read_jsonl,
        read_table,
        read_tensors,
    )

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    controls = {"random": params["random"], "shuffled": params["shuffled"]}
    for path, prompts, vectors, block, dev in zip(
        job.output["scores"],
        job.input["prompts"],
        job.input["vectors"],
        job.input["blocks"],
        job.input["dev"],
        strict=True,
    ):
        layers = chosen_layers(read_json(block), lm.n_layers)
        wanted = conditions([layers], params["multipliers"], controls, params["positions"])
        # in norms of the residual stream, so that contrasts are compared at equal strength
        strengths = params["at_residual_norm"]
        wanted += doses(layers, AT_RESIDUAL_NORM, strengths, params["positions"])
        directions, _ = read_tensors(vectors)
        test = score_prompts(lm, read_jsonl(prompts), directions, wanted, budget=budget)
        # of no dev items there are no columns either
        tables = [table for table in (read_table(dev), test) if len(table)]
        write_scores(path, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
