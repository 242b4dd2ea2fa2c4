"""Sample steered answers to a behaviour's open questions."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_json, read_jsonl, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.completions import complete, sample_plan
    from steerpaper.steering.conditions import BEHAVIOR
    from steerpaper.steering.prompts import token_ids

    params = job.params
    lm, _ = load_job_model(job)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = resolve_layers(read_json(job.input["block"])["layers"], lm.n_layers, "steering.layer")
    prompts = read_jsonl(job.input["prompts"])[: params["questions"]]
    plan = sample_plan(
        {prompt["id"]: token_ids(lm.tokenizer, prompt["text"]) for prompt in prompts},
        layers=tuple(layers),
        multipliers=params["multipliers"],
        samples=params["samples"],
        seed=params["seed"],
        behavior=job.wildcards["behavior"],
    )
    completions = complete(
        lm,
        [request for _, request in plan],
        vectors[BEHAVIOR],
        positions=params["positions"],
        max_new_tokens=params["max_new_tokens"],
        temperature=params["temperature"],
        top_p=params["top_p"],
        budget=params["batch_tokens"],
    )
    rows = [
        {**row, "text": lm.tokenizer.decode(ids, skip_special_tokens=True)}
        for (row, _), ids in zip(plan, completions, strict=True)
    ]
    write_table(job.output["samples"], pd.DataFrame(rows))


if __name__ == "__main__":
    run(main)
