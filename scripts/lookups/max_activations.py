"""Find every neuron's top-activating prompts in one shard of the corpus."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    bos: bool | str
    top: int


def main(job: Job[Params]) -> None:
    from collections.abc import Iterator
    from itertools import islice

    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.finite import finite
    from steerpaper.lookups.corpus import SPLITS, CorpusPrompt, read_corpus
    from steerpaper.lookups.neurons import by_layer
    from steerpaper.lookups.top_activations import top_activations, top_table
    from steerpaper.workflow.files import read_table, write_table

    lm, _ = load_manifest(job.input["model"], **job.params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    neurons = by_layer(read_table(job.input["neurons"]))
    shard, shards = int(job.wildcards["shard"]), int(job.wildcards["shards"])

    def prompts_of(split: str) -> Iterator[CorpusPrompt]:
        return islice(read_corpus(job.input[split]), shard, None, shards)

    tables = []
    for split in SPLITS:
        top = top_activations(
            lm,
            neurons,
            (prompt.ids for prompt in prompts_of(split)),
            k=job.params["top"],
            bos=job.params["bos"],
            budget=budget,
        )
        # read once more, so that no more names are held than these
        wanted = set(top.prompt.ravel().tolist())
        names = {n: prompt.id for n, prompt in enumerate(prompts_of(split)) if n in wanted}
        tables.append(top_table(top, neurons, names, split))
    path = job.output["part"]
    write_table(path, finite(path, pd.concat(tables, ignore_index=True), ["activation"]))


if __name__ == "__main__":
    run(main)
