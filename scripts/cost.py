"""Measure what steering costs: perplexity of neutral text, accuracy on knowledge questions."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import numpy as np
    import pandas as pd

    from steerpaper.files import read_json, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.cost import (
        cost_rows,
        knowledge_rows,
        read_knowledge,
        read_neutral,
        text_ids,
        text_logprobs,
    )
    from steerpaper.steering.pairs import tokenize
    from steerpaper.steering.prompts import as_rows, serialize
    from steerpaper.steering.score import score
    from steerpaper.steering.tables import conditions

    params, budget = job.params, job.params["batch_tokens"]
    paragraphs = read_neutral(job.input["neutral"])[: params["texts"]]
    items = read_knowledge(job.input["knowledge"])[: params["questions"]]
    lm, _ = load_job_model(job)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = resolve_layers(read_json(job.input["block"])["layers"], lm.n_layers, "steering.layer")
    wanted = conditions([tuple(layers)], params["multipliers"], params["random"])

    texts = text_ids(lm.tokenizer, paragraphs, lm.context)
    logprob = text_logprobs(lm, texts, vectors, wanted, budget)
    # the first token of a text is not predicted
    n_tokens = np.array([[len(text) - 1] * logprob.shape[1] for text in texts])
    names = [f"neutral-{number}" for number in range(1, len(texts) + 1)]
    tables = [cost_rows(names, "text", wanted, logprob, n_tokens=n_tokens)]
    for contrast in params["contrasts"]:
        prompts = serialize(
            lm.tokenizer,
            items,
            behavior="knowledge",
            contrast=contrast,
            split="test",
            system=params["system"],
            seed=params["seed"],
            context=lm.context,
        )
        unsteered, steered = score(
            lm,
            tokenize(lm.tokenizer, as_rows(prompts)),
            vectors,
            wanted,
            positions=params["positions"],
            budget=budget,
        )
        tables.append(knowledge_rows(prompts, wanted, unsteered, steered))
    write_table(job.output["scores"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
