"""Serialize train and test items as prompts of several kinds: see steering/prompt_kinds.py."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        train: training items, or `all`.
        prompts: test items.
    """

    kinds: list[str]
    train: int | str
    prompts: int
    letters: str
    system: str | None
    date: str
    seed: int


def main(job: Job[Params]) -> None:
    from steerpaper.engine.text import fix_date, load_for_prompts, use_template
    from steerpaper.steering.prompt_kinds import texts_of, under_kinds
    from steerpaper.workflow.files import read_json, read_jsonl, write_jsonl
    from steerpaper.workflow.places import named

    params, behavior = job.params, job.wildcards["behavior"]
    file = job.how["about"]
    where = f"behaviors.{behavior}.about ({named(file) if file else 'no file is named'})"
    texts = texts_of(read_json(job.input["about"]), params["kinds"], where)
    tokenizer, context = load_for_prompts(job.input["model"])
    use_template(tokenizer, job.input.get("template"))
    fix_date(tokenizer, params["date"])
    train = params["train"]
    rows = under_kinds(
        tokenizer,
        {
            "train": (read_jsonl(job.input["train"]), None if isinstance(train, str) else train),
            "test": (read_jsonl(job.input["test"]), params["prompts"]),
        },
        texts,
        where=where,
        system=params["system"],
        seed=params["seed"],
        context=context,
        letters=params["letters"],
    )
    for row in rows:
        if "note" in row:
            log.warning("%s, %s: left out (n = 0): %s", behavior, row["kind"], row["note"])
    write_jsonl(job.output["prompts"], rows)


if __name__ == "__main__":
    run(main)
