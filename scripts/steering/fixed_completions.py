"""Sample what the unsteered model says after a behaviour's test prompts, and label it."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, log, run


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

    from steerpaper.engine.generate import Decoding, sample_sequences
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.completions import fixed_requests
    from steerpaper.steering.fixed_completions import completion_rows
    from steerpaper.steering.labels import LABELS
    from steerpaper.workflow.files import read_json, read_jsonl, write_table

    params, samples = job.params, job.params["samples"]
    markers = read_json(job.input["about"])["markers"]
    lm, _ = load_manifest(job.input["model"], **params["run"], threads=job.threads)
    decoding = Decoding(
        params["max_new_tokens"],
        params["temperature"],
        params["top_p"],
        job.batch_tokens,
        "steering.fixed_completions.max_new_tokens",
    )
    tables = []
    for path in job.input["prompts"]:
        prompts = balanced_part(read_jsonl(path), params["prompts"])
        requests = [
            request
            for prompt in prompts
            for request in fixed_requests(prompt, samples=samples, seed=params["seed"])
        ]
        sequences = sample_sequences(lm, requests, {}, decoding)
        rows = [
            row
            for number, prompt in enumerate(prompts)
            for row in completion_rows(
                lm.tokenizer,
                prompt,
                sequences[number * samples : (number + 1) * samples],
                markers,
                ends=lm.ends,
                seed=params["seed"],
            )
        ]
        table = pd.DataFrame(rows)
        counts = table.groupby("label")["count"].sum().reindex(LABELS, fill_value=0)
        name = f"{job.wildcards['behavior']} ({prompts[0]['contrast']})"
        log.info("%s: completions labelled %s", name, counts.to_dict())
        missing = [label for label in LABELS[:2] if not counts[label]]
        if missing:
            log.warning(
                "%s: no completion is labelled %s, so its mean change has no number; more samples, "
                "longer completions or other markers may find some",
                name,
                " or ".join(missing),
            )
        tables.append(table)
    write_table(job.output["completions"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
