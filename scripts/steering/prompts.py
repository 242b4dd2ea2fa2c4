"""Serialize a behaviour's raw items into prompt files: every text that the model is shown."""

import sys
from pathlib import Path
from typing import Any, TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    contrasts: list[str]
    split: dict[str, Any]
    letters: str
    balance: bool
    system: str | None
    date: str
    bad_items: str
    seed: int
    data: dict[str, str]


def main(job: Job[Params]) -> None:
    from steerpaper.engine.text import fix_date, load_for_prompts, use_template
    from steerpaper.steering.about import as_json, open_questions, read_about, read_open
    from steerpaper.steering.items import read_items, renamed
    from steerpaper.steering.prompts import (
        as_rows,
        open_prompts,
        reasoning_prompts,
        serialize_all,
        under_system_prompts,
    )
    from steerpaper.steering.splits import SPLITS, own_splits, split_items
    from steerpaper.workflow.files import write_json, write_jsonl
    from steerpaper.workflow.places import named

    params, behavior = job.params, job.wildcards["behavior"]
    system, lead = params["system"], params["contrasts"][0]
    about = read_about(job.input["about"] or None)
    tokenizer, context = load_for_prompts(job.input["model"])
    use_template(tokenizer, job.input.get("template"))
    fix_date(tokenizer, params["date"])

    files = {
        name: renamed(read_items(raw, params["bad_items"]), raw, named(raw))
        for name in ("raw", *SPLITS)
        if (raw := job.input.get(name))
    }
    sizes, seed, balance = params["split"], params["seed"], params["balance"]
    if "raw" in files:
        parts = split_items(files["raw"], sizes, seed, behavior, balance=balance)
    else:
        parts = own_splits(
            files, sizes, seed, behavior, balance=balance, bad_items=params["bad_items"]
        )
    common: dict[str, Any] = {"behavior": behavior, "seed": seed, "context": context}
    common["letters"] = params["letters"]
    prompts = serialize_all(tokenizer, parts, params["contrasts"], system=system, **common)
    asked = read_open(job.input["open"]) if job.input.get("open") else None
    questions = asked or open_questions(about, parts["test"])
    others = {
        "open": open_prompts(
            tokenizer, questions, behavior=behavior, system=system, context=context
        ),
        "reasoning": reasoning_prompts(
            tokenizer, prompts[lead, "test"], system=system, letters=params["letters"]
        ),
        "system_prompts": under_system_prompts(
            tokenizer,
            parts["test"],
            about.system_prompts,
            contrast=lead,
            without="" if system == "" else None,
            **common,
        ),
    }

    # everything is checked before the first file is written
    written = [as_rows(part) for part in prompts.values()]
    for rows, path in zip(written, job.output["prompts"], strict=True):
        write_jsonl(path, rows)
    for name, rows in others.items():
        write_jsonl(job.output[name], rows)
    write_json(job.output["about"], as_json(about))
    read, used = (sum(map(len, one.values())) for one in (files, parts))
    log.info("%s: %d items, %d of them in no split", behavior, read, read - used)


if __name__ == "__main__":
    run(main)
