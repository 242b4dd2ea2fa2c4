"""Cut every top-activating prompt to the shortest suffix that keeps the neuron firing."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    from steerpaper.files import read_table, write_jsonl, write_table
    from steerpaper.lookups.corpus import SPLITS, ids_of
    from steerpaper.lookups.truncation import (
        Pair,
        serialized,
        truncate,
        truncated_table,
        truncation_counts,
    )
    from steerpaper.model import load_job_model

    lm, _ = load_job_model(job)
    neurons = read_table(job.input["neurons"])
    top = read_table(job.input["activations"])
    ids = ids_of([job.input[split] for split in SPLITS], top["prompt_id"])
    pairs = [
        Pair(row.layer, row.neuron, ids[row.prompt_id][: row.position + 1], row.activation)
        for row in top.itertuples()
    ]
    lengths, activations = truncate(
        lm,
        pairs,
        ratio=job.params["ratio"],
        bos=job.params["bos"],
        budget=job.params["batch_tokens"],
    )
    table = truncated_table(lm.tokenizer, top, ids, lengths, activations)
    short = table["end"] - table["start"] <= job.params["max_tokens"]
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
