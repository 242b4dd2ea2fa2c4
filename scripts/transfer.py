"""Score the test items with one block's vector added at other blocks."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_json, read_jsonl, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.conditions import BEHAVIOR
    from steerpaper.steering.pairs import tokenize
    from steerpaper.steering.score import score
    from steerpaper.steering.transfer import condition_scores, transfer_conditions, transferred

    params = job.params
    lm, _ = load_job_model(job)
    vectors, _ = read_tensors(job.input["vectors"])
    named = resolve_layers(params["layers"], lm.n_layers, "steering.transfer.layers")
    chosen = resolve_layers(read_json(job.input["block"])["layers"], lm.n_layers, "steering.layer")
    layers = sorted({*named, *chosen})
    prompts = read_jsonl(job.input["prompts"])[: params["prompts"]]
    wanted = transfer_conditions(layers, layers, params["multipliers"])
    unsteered, steered = score(
        lm,
        tokenize(lm.tokenizer, prompts),
        transferred(vectors[BEHAVIOR], layers, params["norm"]),
        wanted,
        positions=params["positions"],
        budget=params["batch_tokens"],
    )
    write_table(job.output["scores"], condition_scores(prompts, wanted, unsteered, steered))


if __name__ == "__main__":
    run(main)
