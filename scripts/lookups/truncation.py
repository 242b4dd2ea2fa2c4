"""Cut every top-activating prompt to the shortest suffix that keeps the neuron firing."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, log, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    bos: bool | str
    ratio: float
    max_tokens: int
    published: bool


def main(job: Job[Params]) -> None:
    from functools import partial

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.finite import finite
    from steerpaper.lookups.corpus import SPLITS, ids_of
    from steerpaper.lookups.truncation import (
        Firing,
        bisect_lengths,
        serialized,
        shortest_lengths,
        truncate,
        truncated_table,
        truncation_counts,
    )
    from steerpaper.workflow.files import read_table, write_jsonl, write_table

    lm, _ = load_manifest(job.input["model"], **job.params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    neurons = read_table(job.input["neurons"])
    top = read_table(job.input["activations"])
    ids = ids_of([job.input[split] for split in SPLITS], top["prompt_id"])
    pairs = [
        Firing(
            row["layer"],
            row["neuron"],
            ids[row["prompt_id"]][: row["position"] + 1],
            row["activation"],
        )
        for row in top.to_dict("records")
    ]
    search = (
        bisect_lengths
        if job.params["published"]
        else partial(shortest_lengths, longest=job.params["max_tokens"])
    )
    lengths, activations = truncate(
        lm,
        pairs,
        search,
        ratio=job.params["ratio"],
        bos=job.params["bos"],
        budget=budget,
    )
    table = truncated_table(lm.tokenizer, top, ids, lengths, activations)
    finite(job.output["truncated"], table, ["truncated_activation"])
    # the authors keep prompts of fewer tokens than the limit (src/datahandlers.py at f97f993, line
    # 25, remove_prompts_longer_than)
    longest = job.params["max_tokens"] - job.params["published"]
    short = table["end"] - table["start"] <= longest
    counts = truncation_counts(neurons, table, short)
    log.info(
        "%d prompts truncated from %.1f to %.1f tokens on average; %d are longer than %d: left out",
        len(table),
        table["end"].mean(),
        lengths.mean() if len(lengths) else float("nan"),
        (~short).sum(),
        job.params["max_tokens"],
    )
    table = table[short].reset_index(drop=True)
    write_table(job.output["truncated"], table)
    write_jsonl(job.output["serialized"], serialized(table, neurons, ids))
    write_table(job.output["counts"], counts)


if __name__ == "__main__":
    run(main)
