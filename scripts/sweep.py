"""Score the dev items under steering at a shard of the chosen blocks, for every contrast."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_jsonl, read_tensors, write_table
    from steerpaper.layers import resolve_layers, shard_of
    from steerpaper.model import load_job_model
    from steerpaper.steering.pairs import tokenize
    from steerpaper.steering.score import score
    from steerpaper.steering.tables import conditions, score_table

    lm, _ = load_job_model(job)
    layers = resolve_layers(job.params["layers"], lm.n_layers, "steering.sweep.layers")
    layers = shard_of(layers, int(job.wildcards["shard"]), job.params["shards"])
    wanted = conditions(layers, job.params["multipliers"], job.params["random"])
    for path, prompts_path, vectors_path in zip(
        job.output["scores"], job.input["prompts"], job.input["vectors"], strict=True
    ):
        prompts = read_jsonl(prompts_path)
        vectors, _ = read_tensors(vectors_path)
        unsteered, steered = score(
            lm,
            tokenize(lm.tokenizer, prompts),
            vectors,
            wanted,
            positions=job.params["positions"],
            budget=job.params["batch_tokens"],
        )
        write_table(path, score_table(prompts, wanted, unsteered, steered))


if __name__ == "__main__":
    run(main)
