"""Take heads and neurons out of prompts, and see what that does to the next token."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_table, write_table
    from steerpaper.lookups.ablations import ablation_table, other_prompts
    from steerpaper.lookups.corpus import SPLITS, read_corpus
    from steerpaper.lookups.heads import NEURON, prompts_of_heads
    from steerpaper.model import load_job_model

    lm, _ = load_job_model(job)
    truncated = read_table(job.input["truncated"])
    neurons = read_table(job.input["neurons"])[[*NEURON, "kind", "token_id"]]
    ids = {prompt.id: prompt.ids for split in SPLITS for prompt in read_corpus(job.input[split])}
    options = {"bos": job.params["bos"], "budget": job.params["batch_tokens"]}

    heads = prompts_of_heads(
        read_table(job.input["heads"]), read_table(job.input["attribution"]), truncated
    )
    heads = heads.drop(columns=["rank", "text"]).merge(neurons, on=NEURON, validate="m:1")
    log.info("%d head ablations", len(heads))
    unit = ("head_layer", "head")
    table = ablation_table(lm, heads, ids, site="heads", unit=unit, **options)
    # a head's norm says little beside another's; what its ablation does is in the other columns
    write_table(job.output["heads"], table.drop(columns="activation"))

    own = truncated[[*NEURON, "split", "prompt_id", "start", "end"]].assign(active=True)
    others = other_prompts(truncated, seed=job.params["seed"]).assign(active=False)
    both = pd.concat([own, others], ignore_index=True).merge(neurons, on=NEURON, validate="m:1")
    log.info("%d neuron ablations", len(both))
    unit = ("layer", "neuron")
    table = ablation_table(lm, both, ids, site="neurons", unit=unit, **options)
    write_table(job.output["neurons"], table)


if __name__ == "__main__":
    run(main)
