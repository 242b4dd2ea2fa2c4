"""Train a vector under prompts of each kind, and score the test items of each kind with all."""

import sys
from pathlib import Path
from typing import Any, TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    multipliers: list[float]
    norm: str
    estimator: str
    positions: str


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.gradients import item_gradients
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.text import choices
    from steerpaper.steering.activations import SIDES, read_activations
    from steerpaper.steering.comparison import with_controls
    from steerpaper.steering.conditions import BEHAVIOR, chosen_layers, doses, not_run
    from steerpaper.steering.prompt_kinds import kind_vectors
    from steerpaper.steering.scores import score_prompts, write_scores
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors

    params, behavior = job.params, job.wildcards["behavior"]
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    steering, _ = read_tensors(job.input["vectors"])
    layers = chosen_layers(read_json(job.input["block"]), lm.n_layers)
    prompts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    notes = {}
    for row in read_jsonl(job.input["prompts"]):
        if "note" in row:
            notes[row["kind"]] = row["note"]
        else:
            prompts.setdefault(row["kind"], {}).setdefault(row["split"], []).append(row)

    activations = {}
    for kind, of_kind in prompts.items():
        read = read_activations(lm, choices(of_kind["train"]), budget)
        matching, other = (read[side][:, list(layers)] for side in SIDES)
        activations[kind] = matching, other
    how = {key: params[key] for key in ("estimator", "norm")}
    vectors = kind_vectors(activations, layers, steering[BEHAVIOR], **how)

    # all kinds' vectors are conditions of one prompt: what comes before the answer runs once
    wanted = [
        condition
        for kind in vectors
        for condition in doses(layers, kind, params["multipliers"], params["positions"])
    ]
    tables = []
    for kind, of_kind in prompts.items():
        test = of_kind["test"]
        table = score_prompts(lm, test, vectors, wanted, budget=budget)
        # what random directions would do differs from kind to kind, as the gradients do
        found = item_gradients(lm, choices(test), params["positions"], budget)
        table = with_controls(table, found, vectors, wanted)
        tables.append(table.assign(note=None, used=kind))
    tables += [not_run(behavior).assign(note=note, used=kind) for kind, note in notes.items()]
    write_scores(job.output["scores"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
