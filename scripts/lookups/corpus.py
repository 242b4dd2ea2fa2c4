"""Make the lookups corpus: raw text cut into prompts, de-duplicated, split into train and test."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.errors import writing
from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    column: str
    data: str
    train: int
    test: int
    max_tokens: int
    bos: bool | str
    seed: int


def main(job: Job[Params]) -> None:
    from collections import Counter

    import pandas as pd

    from steerpaper.engine.text import begins_with, load_for_prompts
    from steerpaper.lookups.corpus import SPLITS, choose_prompts, write_corpus
    from steerpaper.lookups.raw import RawFile, read_raw
    from steerpaper.workflow.files import write_table
    from steerpaper.workflow.places import named

    tokenizer, context = load_for_prompts(job.input["model"])
    paths = {split: job.output[split] for split in SPLITS}
    folder = Path(paths["train"]).parent
    folder.mkdir(parents=True, exist_ok=True)
    # one place is kept for a beginning-of-sequence token
    longest = min(job.params["max_tokens"], (context or job.params["max_tokens"] + 1) - 1)
    counts: Counter[str] = Counter()
    # all texts are on the disk for a while
    with writing(paths["train"]):
        path = job.input["raw"] or None
        texts = read_raw(path, job.params["column"], named(path) if path else "")
        raw = RawFile(texts, folder)
    prompts = choose_prompts(
        tokenizer,
        raw,
        sizes={"train": job.params["train"], "test": job.params["test"]},
        max_tokens=longest,
        seed=job.params["seed"],
        counts=counts,
    )
    write_corpus(paths, prompts)
    counts["max_tokens"] = longest
    start = begins_with(tokenizer, job.params["bos"])
    log.info("every prompt begins with %s", start)
    write_table(job.output["counts"], pd.DataFrame([counts]).assign(begins_with=start))
    log.info("corpus: %s", ", ".join(f"{name} {count}" for name, count in counts.items()))


if __name__ == "__main__":
    run(main)
