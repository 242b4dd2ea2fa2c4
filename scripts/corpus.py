"""Make the lookups corpus: raw text cut into prompts, de-duplicated, split into train and test."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    from collections import Counter
    from pathlib import Path

    import pandas as pd

    from steerpaper.files import write_table
    from steerpaper.lookups.corpus import SPLITS, RawFile, choose_prompts, read_raw, write_corpus
    from steerpaper.steering.prompts import load_for_prompts

    tokenizer, context = load_for_prompts(job.input["model"])
    paths = {split: job.output[split] for split in SPLITS}
    folder = Path(paths["train"]).parent
    folder.mkdir(parents=True, exist_ok=True)
    # one place is kept for a beginning-of-sequence token
    longest = min(job.params["max_tokens"], (context or job.params["max_tokens"] + 1) - 1)
    counts: Counter[str] = Counter()
    prompts = choose_prompts(
        tokenizer,
        RawFile(read_raw(job.params["source"], job.params["where"]), folder),
        sizes={split: job.params[split] for split in SPLITS},
        max_tokens=longest,
        seed=job.params["seed"],
        counts=counts,
    )
    write_corpus(paths, prompts)
    counts["max_tokens"] = longest
    write_table(job.output["counts"], pd.DataFrame([counts]))
    log.info("corpus: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


if __name__ == "__main__":
    run(main)
