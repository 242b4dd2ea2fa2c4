"""Score a behaviour's fixed completions under every chosen block and multiplier."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import (
        read_json,
        read_jsonl,
        read_table_parts,
        read_tensors,
        table_writer,
    )
    from steerpaper.layers import resolve_sets
    from steerpaper.model import load_job_model
    from steerpaper.progress import progress
    from steerpaper.steering.logprobs import logprob_rows
    from steerpaper.steering.prompts import token_ids
    from steerpaper.steering.score import score_completions
    from steerpaper.steering.tables import conditions

    params = job.params
    lm, _ = load_job_model(job)
    wanted, vectors, texts = {}, {}, {}
    for contrast, prompts, vectors_path, block in zip(
        params["contrasts"],
        job.input["prompts"],
        job.input["vectors"],
        job.input["blocks"],
        strict=True,
    ):
        chosen = read_json(block)["layers"]
        key = "steering.fixed_completions.layers"
        sets = resolve_sets(params["layers"], chosen, lm.n_layers, key)
        wanted[contrast] = conditions(sets, params["multipliers"], params["random"])
        vectors[contrast], _ = read_tensors(vectors_path)
        texts[contrast] = {prompt["id"]: prompt["text"] for prompt in read_jsonl(prompts)}
    columns = ["behavior", "contrast", "prompt_id", "completion_id", "label", "count", "ids"]
    with table_writer(job.output["logprobs"]) as append:
        for part in read_table_parts(job.input["completions"], columns):
            for contrast, completions in part.groupby("contrast", sort=False):
                names = list(completions["prompt_id"].unique())
                batches = score_completions(
                    lm,
                    [token_ids(lm.tokenizer, texts[contrast][name]) for name in names],
                    [
                        (names.index(name), ids.tolist())
                        for name, ids in zip(
                            completions["prompt_id"], completions["ids"], strict=True
                        )
                    ],
                    vectors[contrast],
                    wanted[contrast],
                    positions=params["positions"],
                    budget=params["batch_tokens"],
                )
                for batch, values in progress(batches, len(completions), "completions"):
                    append(logprob_rows(completions.iloc[batch], wanted[contrast], values))


if __name__ == "__main__":
    run(main)
