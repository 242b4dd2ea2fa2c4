"""Choose the neuron-head pairs that are explained and ablated."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    from steerpaper.files import read_table, write_table
    from steerpaper.lookups.heads import choose_heads

    params = job.params
    pairs, allowed = choose_heads(
        read_table(job.input["attribution"]),
        share=tuple(params["active"]),
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
