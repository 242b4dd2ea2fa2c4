"""Project a few texts token by token on their behaviours' vectors at the chosen blocks."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_json, read_jsonl, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.conditions import BEHAVIOR
    from steerpaper.steering.pairs import tokenize
    from steerpaper.steering.projection import parts, project, scale, token_texts

    lm, _ = load_job_model(job)
    tables = []
    for number, behavior in enumerate(job.params["behaviors"]):
        block = read_json(job.input["blocks"][number])["layers"]
        # of a set of blocks that are steered together, the first is looked at
        layer = resolve_layers(block, lm.n_layers, "steering.layer")[0]
        direction = read_tensors(job.input["vectors"][number])[0][BEHAVIOR][layer]
        train, _ = read_tensors(job.input["activations"][number])
        measure = scale(train["matching"][:, layer], train["other"][:, layer], direction)
        prompts = read_jsonl(job.input["prompts"][number])[: job.params["texts"]]
        answers = [
            (prompt, pair, side, getattr(pair, side))
            for prompt, pair in zip(prompts, tokenize(lm.tokenizer, prompts), strict=True)
            for side in ("matching", "other")
        ]
        texts = [pair.text + ids for _, pair, _, ids in answers]
        projected = project(lm, texts, layer, direction, job.params["batch_tokens"])
        for (prompt, pair, side, ids), text, values in zip(answers, texts, projected, strict=True):
            table = {
                "behavior": behavior,
                "contrast": prompt["contrast"],
                "layer": layer,
                "prompt_id": prompt["id"],
                "answer": side,
                "token": range(len(text)),
                "part": parts(
                    lm.tokenizer, prompt["text"], prompt["question"], len(pair.text), len(ids)
                ),
                "text": token_texts(lm.tokenizer, text),
                "projection": (values - measure.middle) / measure.unit,
            }
            tables.append(pd.DataFrame(table))
    write_table(job.output["table"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
