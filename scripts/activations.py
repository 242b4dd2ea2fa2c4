"""Read a behaviour's activations: the residual stream after every block, for every contrast."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_jsonl, write_tensors
    from steerpaper.model import load_job_model
    from steerpaper.steering.activations import read_activations
    from steerpaper.steering.pairs import tokenize

    lm, manifest = load_job_model(job)
    for contrast, prompts, path in zip(
        job.params["contrasts"], job.input["prompts"], job.output["activations"], strict=True
    ):
        pairs = tokenize(lm.tokenizer, read_jsonl(prompts))
        matching, other = read_activations(lm, pairs, job.params["batch_tokens"])
        metadata = {
            "model": manifest["name"],
            "revision": manifest["revision"],
            "behavior": job.wildcards["behavior"],
            "contrast": contrast,
            "n": len(pairs),
            "mean_over": "the continuation's tokens",
            "dtype": job.params["dtype"],
            "config_digest": job.config_digest,
        }
        write_tensors(path, {"matching": matching, "other": other}, metadata)


if __name__ == "__main__":
    run(main)
