"""Serialize a behaviour's raw items into prompt files: every text that the model is shown."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run

if TYPE_CHECKING:
    from steerpaper.steering.items import Item


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


def read_files(job: Job[Params]) -> dict[str, list["Item"]]:
    """A behaviour's items by file: `raw`, or each split's own."""
    from steerpaper.steering.items import read_items, renamed
    from steerpaper.steering.splits import SPLITS
    from steerpaper.workflow.places import named

    return {
        name: renamed(read_items(path, job.params["bad_items"]), path, named(path))
        for name in ("raw", *SPLITS)
        if (path := job.input.get(name))
    }


def splits_of(
    files: dict[str, list["Item"]], params: Params, behavior: str
) -> dict[str, list["Item"]]:
    """The items of train, dev and test."""
    from steerpaper.steering.splits import own_splits, split_items

    sizes, seed, balance = params["split"], params["seed"], params["balance"]
    if "raw" in files:
        return split_items(files["raw"], sizes, seed, behavior, balance=balance)
    bad_items = params["bad_items"]
    return own_splits(files, sizes, seed, behavior, balance=balance, bad_items=bad_items)


def main(job: Job[Params]) -> None:
    from steerpaper.engine.text import fix_date, load_for_prompts, use_template
    from steerpaper.steering.about import as_json, open_questions, read_about, read_open
    from steerpaper.steering.prompts import (
        as_rows,
        open_prompts,
        reasoning_prompts,
        serialize_all,
        under_system_prompts,
    )
    from steerpaper.workflow.files import write_json, write_jsonl

    params, behavior = job.params, job.wildcards["behavior"]
    system, lead = params["system"], params["contrasts"][0]
    about = read_about(job.input["about"] or None)
    tokenizer, context = load_for_prompts(job.input["model"])
    use_template(tokenizer, job.input.get("template"))
    fix_date(tokenizer, params["date"])

    files = read_files(job)
    parts = splits_of(files, params, behavior)
    common: dict[str, Any] = {"behavior": behavior, "seed": params["seed"], "context": context}
    common["letters"] = params["letters"]
    prompts = serialize_all(tokenizer, parts, params["contrasts"], system=system, **common)
    key, questions = "about", open_questions(about, parts["test"])
    if job.input.get("open"):
        key, questions = "open", read_open(job.input["open"])
    others = {
        "open": open_prompts(
            tokenizer, questions, behavior=behavior, system=system, context=context, key=key
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
