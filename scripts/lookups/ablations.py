"""Take heads and neurons out of prompts, and see what that does to the next token."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, log, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    bos: bool | str
    published: bool
    seed: int


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.text import beginning
    from steerpaper.finite import finite
    from steerpaper.lookups.ablations import ablate, ablations_of, other_prompts, with_effects
    from steerpaper.lookups.corpus import SPLITS, ids_of
    from steerpaper.lookups.heads import NEURON, prompts_of_heads
    from steerpaper.workflow.files import read_table, write_table

    lm, _ = load_manifest(job.input["model"], **job.params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    truncated = read_table(job.input["truncated"])
    neurons = read_table(job.input["neurons"])[[*NEURON, "kind", "token_id"]]
    ids = ids_of([job.input[split] for split in SPLITS], truncated["prompt_id"])
    start = beginning(lm.tokenizer, job.params["bos"])

    heads = prompts_of_heads(
        read_table(job.input["heads"]), read_table(job.input["attribution"]), truncated
    )
    heads = heads.drop(columns=["rank", "text"]).merge(neurons, on=NEURON, validate="m:1")
    own = truncated[[*NEURON, "split", "prompt_id", "start", "end"]].assign(active=True)
    others = other_prompts(truncated, seed=job.params["seed"]).assign(active=False)
    both = pd.concat([own, others], ignore_index=True).merge(neurons, on=NEURON, validate="m:1")

    # together, so that a prompt is run once as it is for all that is taken out of it
    of_heads = ablations_of(heads, ids, start, site="heads", unit=("head_layer", "head"))
    of_neurons = ablations_of(both, ids, start, site="neurons", unit=("layer", "neuron"))
    log.info("%d ablations of heads, %d of neurons", len(of_heads), len(of_neurons))
    effects = ablate(
        lm,
        [*of_heads, *of_neurons],
        budget=budget,
        published=job.params["published"],
    )
    tables = {
        "heads": with_effects(heads, effects, slice(len(of_heads))),
        "neurons": with_effects(both, effects, slice(len(of_heads), None)),
    }
    for name, table in tables.items():
        finite(job.output[name], table, ["logprob", "ablated_logprob"])
    # a head's norm says little beside another's; what its ablation does is in the other columns
    write_table(job.output["heads"], tables["heads"].drop(columns="activation"))
    write_table(job.output["neurons"], tables["neurons"])


if __name__ == "__main__":
    run(main)
