"""Find every neuron's top-activating prompts in one shard of the corpus."""

from collections.abc import Iterator
from itertools import islice

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_table, write_table
    from steerpaper.lookups.corpus import SPLITS, read_corpus
    from steerpaper.lookups.neurons import by_layer
    from steerpaper.lookups.top_activations import top_activations, top_table
    from steerpaper.model import load_job_model

    lm, _ = load_job_model(job)
    neurons = by_layer(read_table(job.input["neurons"]))
    shard, shards = int(job.wildcards["shard"]), job.params["shards"]
    tables = []
    for split in SPLITS:
        names: list[str] = []

        def prompts(split: str = split, names: list[str] = names) -> Iterator[list[int]]:
            for prompt in islice(read_corpus(job.input[split]), shard, None, shards):
                names.append(prompt.id)
                yield prompt.ids

        top = top_activations(
            lm,
            neurons,
            prompts(),
            k=job.params["top"],
            bos=job.params["bos"],
            budget=job.params["batch_tokens"],
        )
        tables.append(top_table(top, neurons, names, split))
    write_table(job.output["part"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
