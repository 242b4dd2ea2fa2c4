"""Score the test items without, with a supporting and with an opposing system prompt, steered."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_json, read_tensors, write_table
    from steerpaper.layers import resolve_layers
    from steerpaper.model import load_job_model
    from steerpaper.steering.about import read_about
    from steerpaper.steering.conditions import UNSTEERED
    from steerpaper.steering.items import read_items, split_items
    from steerpaper.steering.pairs import tokenize
    from steerpaper.steering.prompts import as_rows
    from steerpaper.steering.score import score
    from steerpaper.steering.system_prompts import SYSTEM_PROMPTS, under_system_prompts
    from steerpaper.steering.tables import conditions, score_table

    params, behavior = job.params, job.wildcards["behavior"]
    lm, _ = load_job_model(job)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = resolve_layers(read_json(job.input["block"])["layers"], lm.n_layers, "steering.layer")
    wanted = conditions([tuple(layers)], params["multipliers"], {"directions": 0})
    items = split_items(read_items(job.input["raw"]), params["split"], params["seed"], behavior)
    found, missing = under_system_prompts(
        lm.tokenizer,
        items["test"],
        read_about(job.input["about"] or None).system_prompts,
        behavior=behavior,
        contrast=params["contrast"],
        seed=params["seed"],
        context=lm.context,
    )
    tables = []
    for name in SYSTEM_PROMPTS:
        if name in missing:
            row = {"behavior": behavior, "split": "test", "layer": UNSTEERED, "multiplier": 0.0}
            table = pd.DataFrame([{**row, "layers": "", "note": missing[name]}])
        else:
            prompts = as_rows(found[name][: params["prompts"]])
            unsteered, steered = score(
                lm,
                tokenize(lm.tokenizer, prompts),
                vectors,
                wanted,
                positions=params["positions"],
                budget=params["batch_tokens"],
            )
            table = score_table(prompts, wanted, unsteered, steered).assign(note=None)
        table.insert(0, "system_prompt", name)
        tables.append(table)
    write_table(job.output["scores"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
