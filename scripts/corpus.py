"""Make the lookups corpus: raw text cut into prompts, de-duplicated, split into train and test."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.files import write_jsonl, write_table
    from steerpaper.lookups.corpus import SPLITS, as_rows, choose_prompts, read_raw
    from steerpaper.steering.prompts import load_for_prompts

    tokenizer, context = load_for_prompts(job.input["model"])
    raw = read_raw(job.params["source"], job.params["where"])
    # one place is kept for a beginning-of-sequence token
    longest = min(job.params["max_tokens"], (context or job.params["max_tokens"] + 1) - 1)
    prompts, counts = choose_prompts(
        tokenizer,
        raw,
        sizes={split: job.params[split] for split in SPLITS},
        max_tokens=longest,
        seed=job.params["seed"],
    )
    for split in SPLITS:
        write_jsonl(job.output[split], as_rows(prompts[split]))
    counts["max_tokens"] = longest
    write_table(job.output["counts"], pd.DataFrame([counts]))
    log.info("corpus: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


if __name__ == "__main__":
    run(main)
