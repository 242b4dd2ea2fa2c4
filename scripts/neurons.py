"""Find next-token neurons, and draw random neurons as the control."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    from steerpaper.files import write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.lookups.neurons import (
        choose_neurons,
        model_congruence,
        token_table,
        token_texts,
    )
    from steerpaper.model import load_job_model
    from steerpaper.weights import check_parts

    lm, _ = load_job_model(job)
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
    )
    log.info("%d neurons in blocks %s, %d rejected", len(neurons), layers, len(rejected))
    write_table(job.output["neurons"], neurons)
    write_table(job.output["rejected"], rejected)
    write_table(job.output["tokens"], token_table(best, texts, special))


if __name__ == "__main__":
    run(main)
