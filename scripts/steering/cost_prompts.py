"""Serialize what the cost of steering is measured on: neutral texts and knowledge questions."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings."""

    texts: int
    questions: int
    contrasts: list[str]
    system: str | None
    date: str
    seed: int


def main(job: Job[Params]) -> None:
    from steerpaper.engine.text import fix_date, load_for_prompts, use_template
    from steerpaper.steering.balance import balanced, say_unbalanced
    from steerpaper.steering.cost_prompts import read_knowledge, read_neutral, text_ids
    from steerpaper.steering.items import renamed
    from steerpaper.steering.prompts import as_rows, serialize
    from steerpaper.workflow.files import write_jsonl
    from steerpaper.workflow.places import named

    params = job.params
    texts = read_neutral(job.input["neutral"])[: params["texts"]]
    asked = job.input["knowledge"]
    known = renamed(read_knowledge(asked), asked, named(asked))
    sides = [item.side for item in known]
    items = [known[place] for place in balanced(sides, params["questions"])]
    say_unbalanced([item.side for item in items], "knowledge")
    tokenizer, context = load_for_prompts(job.input["model"])
    use_template(tokenizer, job.input.get("template"))
    fix_date(tokenizer, params["date"])
    neutral = [
        {"id": f"neutral-{number}", "text": text.text, "ids": ids}
        for number, (text, ids) in enumerate(
            zip(texts, text_ids(tokenizer, texts, context), strict=True), 1
        )
    ]
    knowledge = [
        as_rows(
            serialize(
                tokenizer,
                items,
                behavior="knowledge",
                contrast=contrast,
                split="test",
                system=params["system"],
                seed=params["seed"],
                context=context,
            )
        )
        for contrast in params["contrasts"]
    ]
    # everything is checked before the first file is written
    write_jsonl(job.output["neutral"], neutral)
    for rows, path in zip(knowledge, job.output["knowledge"], strict=True):
        write_jsonl(path, rows)


if __name__ == "__main__":
    run(main)
