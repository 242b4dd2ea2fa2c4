"""Score a behaviour's fixed completions under every chosen block and multiplier."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    layers: list[object]
    multipliers: list[float]
    random: dict[str, object]
    positions: str
    contrasts: list[str]


def main(job: Job[Params]) -> None:
    import numpy as np

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.layers import resolve_sets
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.score import score_completions
    from steerpaper.finite import finite
    from steerpaper.progress import progress
    from steerpaper.steering.beyond import with_beyond
    from steerpaper.steering.conditions import chosen_layers, conditions
    from steerpaper.steering.fixed_completions import COMPLETION, forms, logprob_rows, prefilled
    from steerpaper.workflow.files import (
        read_json,
        read_jsonl,
        read_table_parts,
        read_tensors,
        table_writer,
    )

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    wanted, vectors = {}, {}
    # token ids, and how many of them stand behind the user's turn
    asked: dict[tuple[str, str], dict[str, tuple[list[int], int]]] = {}
    for number, contrast in enumerate(params["contrasts"]):
        chosen = chosen_layers(read_json(job.input["blocks"][number]), lm.n_layers)
        key = "steering.fixed_completions.layers"
        sets = resolve_sets(params["layers"], chosen, lm.n_layers, key)
        wanted[contrast] = conditions(
            sets, params["multipliers"], {"random": params["random"]}, params["positions"]
        )
        vectors[contrast], _ = read_tensors(job.input["vectors"][number])
        for prompt in read_jsonl(job.input["prompts"][number]):
            for form, ids in forms(prompt).items():
                row = ids, prefilled(prompt, form)
                asked.setdefault((contrast, form), {})[prompt["id"]] = row
    with table_writer(job.output["logprobs"]) as append:
        for part in read_table_parts(job.input["completions"], [*COMPLETION, "ids"]):
            for name, completions in part.groupby(["contrast", "form"], sort=False):
                contrast, form = map(str, name)
                named, answers = (completions[key].tolist() for key in ("prompt_id", "ids"))
                place = {name: k for k, name in enumerate(dict.fromkeys(named))}
                prompts = [asked[contrast, form][prompt] for prompt in place]
                continued = [
                    (place[k], ids.tolist()) for k, ids in zip(named, answers, strict=True)
                ]
                batches = score_completions(
                    lm,
                    [ids for ids, _ in prompts],
                    continued,
                    vectors[contrast],
                    wanted[contrast],
                    budget=budget_of(lm, job.batch_tokens),
                    names=list(place),
                    prefilled=[behind for _, behind in prompts],
                )
                logprobs = np.zeros((len(completions), 1 + len(wanted[contrast])))
                for batch, values in progress(batches, len(completions), "completions"):
                    logprobs[batch] = values
                lengths = [len(prompts[k][0]) + len(ids) for k, ids in continued]
                rows = logprob_rows(completions, wanted[contrast], logprobs)
                append(finite(job.output["logprobs"], with_beyond(rows, lm, lengths), ["logprob"]))


if __name__ == "__main__":
    run(main)
