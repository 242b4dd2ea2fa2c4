"""Score the test items with every estimator's vector at the chosen block."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_json, read_jsonl, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.conditions import Condition
    from steerpaper.steering.estimators import ESTIMATORS
    from steerpaper.steering.pairs import tokenize
    from steerpaper.steering.score import score
    from steerpaper.steering.transfer import condition_scores

    params = job.params
    lm, _ = load_job_model(job)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = resolve_layers(read_json(job.input["block"])["layers"], lm.n_layers, "steering.layer")
    prompts = read_jsonl(job.input["prompts"])[: params["prompts"]]
    wanted = [
        Condition(tuple(layers), name, float(multiplier))
        for name in (*ESTIMATORS, "random-0")
        if name in vectors
        for multiplier in sorted(params["multipliers"])
        if multiplier
    ]
    unsteered, steered = score(
        lm,
        tokenize(lm.tokenizer, prompts),
        vectors,
        wanted,
        positions=params["positions"],
        budget=params["batch_tokens"],
    )
    write_table(job.output["scores"], condition_scores(prompts, wanted, unsteered, steered))


if __name__ == "__main__":
    run(main)
