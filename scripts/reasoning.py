"""Sample a chain of thought, steered or not, and score the two answers that follow it."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_json, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.completions import complete
    from steerpaper.steering.conditions import BEHAVIOR, UNSTEERED
    from steerpaper.steering.items import read_items, split_items
    from steerpaper.steering.prompts import serialize
    from steerpaper.steering.reasoning import ask, chains, reasoning_plan, score_chains

    params, behavior = job.params, job.wildcards["behavior"]
    lm, _ = load_job_model(job)
    vector = read_tensors(job.input["vectors"])[0][BEHAVIOR]
    layers = resolve_layers(read_json(job.input["block"])["layers"], lm.n_layers, "steering.layer")
    items = split_items(read_items(job.input["raw"]), params["split"], params["seed"], behavior)
    # all test items are serialized, so that each has the letters that it has elsewhere
    prompts = serialize(
        lm.tokenizer,
        items["test"],
        behavior=behavior,
        contrast=params["contrast"],
        split="test",
        system=params["system"],
        seed=params["seed"],
        context=lm.context,
    )[: params["prompts"]]
    questions = ask(
        lm.tokenizer,
        items["test"][: params["prompts"]],
        [prompt.matching for prompt in prompts],
        behavior=behavior,
        contrast=params["contrast"],
        system=params["system"],
        room=params["max_new_tokens"],
        context=lm.context,
    )
    plan = reasoning_plan(
        questions,
        layers=tuple(layers),
        multipliers=params["multipliers"],
        samples=params["samples"],
        seed=params["seed"],
        behavior=behavior,
    )
    reasonings = complete(
        lm,
        [request for _, _, request in plan],
        vector,
        positions="response",
        max_new_tokens=params["max_new_tokens"],
        temperature=params["temperature"],
        top_p=params["top_p"],
        budget=params["batch_tokens"],
    )
    made = chains(plan, reasonings, params["multipliers"])
    scores = score_chains(
        lm, questions, [chain for _, chain in made], vector, layers, params["batch_tokens"]
    )
    rows = [
        {
            "prompt_id": questions[chain.question].id,
            "contrast": params["contrast"],
            "layer": layers[0] if row["multiplier"] else UNSTEERED,
            "layers": "+".join(map(str, layers)) if row["multiplier"] else "",
            **row,
            "seed": params["seed"],
            "logprob_matching": matching,
            "logprob_other": other,
            "logit_diff": matching - other,
            "n_tokens": len(chain.reasoning),
            "text": lm.tokenizer.decode(chain.reasoning, skip_special_tokens=True),
        }
        for (row, chain), (matching, other) in zip(made, scores, strict=True)
    ]
    write_table(job.output["chains"], pd.DataFrame(rows))


if __name__ == "__main__":
    run(main)
