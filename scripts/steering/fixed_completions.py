"""Sample what the unsteered model says after a behaviour's test prompts, and label it."""

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
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.generate import Decoding, sample_sequences
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.completions import fixed_requests
    from steerpaper.steering.fixed_completions import completion_rows, forms, say_labels
    from steerpaper.workflow.files import read_json, read_jsonl, write_table

    params, samples = job.params, job.params["samples"]
    about = read_json(job.input["about"])
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    decoding = Decoding(
        params["max_new_tokens"],
        params["temperature"],
        params["top_p"],
        budget,
        "steering.fixed_completions.max_new_tokens",
    )
    tables = []
    for path in job.input["prompts"]:
        prompts = balanced_part(read_jsonl(path), params["prompts"])
        for form in forms(prompts[0]):
            requests = [
                request
                for prompt in prompts
                for request in fixed_requests(
                    prompt, forms(prompt)[form], form, samples=samples, seed=params["seed"]
                )
            ]
            sequences = sample_sequences(lm, requests, {}, decoding)
            rows = [
                row
                for number, prompt in enumerate(prompts)
                for row in completion_rows(
                    lm.tokenizer,
                    prompt,
                    form,
                    sequences[number * samples : (number + 1) * samples],
                    about,
                    ends=lm.ends,
                    seed=params["seed"],
                )
            ]
            table = pd.DataFrame(rows)
            say_labels(f"{job.wildcards['behavior']} ({prompts[0]['contrast']}, {form})", table)
            tables.append(table)
    write_table(job.output["completions"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
