"""Project a few texts token by token on their behaviours' vectors at the chosen blocks."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    texts: int
    behaviors: list[str]


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.finite import finite
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.conditions import BEHAVIOR, chosen_layers
    from steerpaper.steering.projection import project_answers, scale
    from steerpaper.steering.vectors import by_block
    from steerpaper.workflow.files import SlicedTensors, read_json, read_jsonl, write_table

    lm, _ = load_manifest(job.input["model"], **job.params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    tables = []
    for prompts, block, vectors, activations in zip(
        job.input["prompts"],
        job.input["blocks"],
        job.input["vectors"],
        job.input["activations"],
        strict=True,
    ):
        # of a set of blocks that are steered together, the first is looked at
        layer = chosen_layers(read_json(block), lm.n_layers)[0]
        direction = SlicedTensors(vectors)[BEHAVIOR][:][layer]
        ((matching, other),) = by_block(SlicedTensors(activations), [layer])
        measure = scale(matching[:, 0], other[:, 0], direction)
        rows = balanced_part(read_jsonl(prompts), job.params["texts"])
        tables.append(project_answers(lm, rows, layer, direction, measure, budget))
    path = job.output["table"]
    write_table(path, finite(path, pd.concat(tables, ignore_index=True), ["projection"]))


if __name__ == "__main__":
    run(main)
