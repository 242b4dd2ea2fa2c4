"""Choose the neuron-head pairs that are explained and ablated."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    active: list[float]
    per_neuron: int | None
    seed: int


def main(job: Job[Params]) -> None:
    from steerpaper.lookups.heads import choose_heads
    from steerpaper.workflow.files import read_table, write_table

    params = job.params
    pairs, allowed = choose_heads(
        read_table(job.input["attribution"]),
        share=(params["active"][0], params["active"][1]),
        per_neuron=params["per_neuron"],
        seed=params["seed"],
    )
    log.info(
        "%d of %d neuron-head pairs taken that are active on %g to %g of the train prompts",
        len(pairs),
        allowed,
        *params["active"],
    )
    if pairs.empty:
        log.warning("no head is active on that share: widen lookups.heads.active or raise top")
    write_table(job.output["heads"], pairs)


if __name__ == "__main__":
    run(main)
