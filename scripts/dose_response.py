"""Score the test items at the chosen block under many multipliers, and join dev's scores."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_json, read_jsonl, read_table, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.pairs import tokenize
    from steerpaper.steering.score import score
    from steerpaper.steering.tables import conditions, score_table

    lm, _ = load_job_model(job)
    for path, prompts_path, vectors_path, block, dev in zip(
        job.output["scores"],
        job.input["prompts"],
        job.input["vectors"],
        job.input["blocks"],
        job.input["dev"],
        strict=True,
    ):
        layers = resolve_layers(read_json(block)["layers"], lm.n_layers, "steering.layer")
        wanted = conditions([tuple(layers)], job.params["multipliers"], job.params["random"])
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
        test = score_table(prompts, wanted, unsteered, steered)
        write_table(path, pd.concat([read_table(dev), test], ignore_index=True))


if __name__ == "__main__":
    run(main)
