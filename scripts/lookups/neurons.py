"""Find next-token neurons, and draw random neurons as the control."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, log, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    next_token: int
    random: int
    reject: list[str]
    layers: object
    seed: int


def main(job: Job[Params]) -> None:
    from steerpaper.engine.identities import check_parts
    from steerpaper.engine.layers import resolve_layers
    from steerpaper.engine.model import load_manifest
    from steerpaper.finite import finite
    from steerpaper.lookups.neurons import (
        choose_neurons,
        model_congruence,
        rejected_by_hand,
        token_table,
        token_texts,
    )
    from steerpaper.workflow.files import write_table

    lm, _ = load_manifest(job.input["model"], **job.params["run"], **job.machine)
    layers = resolve_layers(job.params["layers"], lm.n_layers, "lookups.layers")
    check_parts(lm)
    best = model_congruence(lm, layers)
    texts = token_texts(lm.tokenizer, len(best.layer))
    special = frozenset(lm.tokenizer.all_special_ids)
    neurons, rejected = choose_neurons(
        best,
        texts,
        special,
        layers,
        next_token=job.params["next_token"],
        random=job.params["random"],
        seed=job.params["seed"],
        by_hand=rejected_by_hand(job.params["reject"], layers, len(best.congruence[layers[0]])),
    )
    log.info("%d neurons in blocks %s, %d rejected", len(neurons), layers, len(rejected))
    write_table(job.output["neurons"], finite(job.output["neurons"], neurons, ["congruence"]))
    write_table(job.output["rejected"], rejected)
    path = job.output["tokens"]
    write_table(path, finite(path, token_table(best, texts, special), ["congruence"]))


if __name__ == "__main__":
    run(main)
