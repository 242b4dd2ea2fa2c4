"""Serialize a behaviour's raw items into prompt files, one a contrast and split."""

from itertools import product

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import read_json, write_jsonl, write_table
    from steerpaper.steering.about import open_questions, read_about
    from steerpaper.steering.items import SPLITS, read_items, split_items
    from steerpaper.steering.prompts import as_rows, load_for_prompts, render, serialize, token_ids

    behavior = job.wildcards["behavior"]
    seed, system = job.params["seed"], job.params["system"]
    about = read_about(job.input["about"] or None)
    manifest = read_json(job.input["model"])
    tokenizer, context = load_for_prompts(job.input["model"])

    items = read_items(job.input["raw"], job.params["bad_items"])
    parts = split_items(items, job.params["split"], seed, behavior)
    names = list(product(job.params["contrasts"], SPLITS))
    files = {}
    for contrast, split in names:
        prompts = serialize(
            tokenizer,
            parts[split],
            behavior=behavior,
            contrast=contrast,
            split=split,
            system=system,
            seed=seed,
            context=context,
        )
        files[contrast, split] = as_rows(prompts)
        merged = sum(prompt.boundary == "split" for prompt in prompts)
        if merged:
            log.warning(
                "%s, %s: in %d of %d prompts the tokenizer of %s would merge the prompt's last "
                "token with the answer; their ids are concatenated instead",
                contrast,
                split,
                merged,
                len(prompts),
                manifest["name"],
            )
    questions = open_questions(about, parts["test"])
    opened = []
    for number, question in enumerate(questions):
        text = render(tokenizer, question, system, source=f"open question {number + 1}")
        opened.append(
            {
                "id": f"{behavior}-open-{number + 1}",
                "behavior": behavior,
                "question": question,
                "text": text,
                "n_tokens": len(token_ids(tokenizer, text)),
            }
        )

    # everything is checked before the first file is written
    for name, path in zip(names, job.output["prompts"], strict=True):
        write_jsonl(path, files[name])
    for name, path in zip(names, job.output["csv"], strict=False):
        write_table(path, pd.DataFrame(files[name]))
    write_jsonl(job.output["open"], opened)
    unused = len(items) - sum(map(len, parts.values()))
    log.info("%s: %d items, %d of them in no split", behavior, len(items), unused)


if __name__ == "__main__":
    run(main)
