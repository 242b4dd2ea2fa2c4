"""Serialize a benchmark's questions, for every way that it is asked in."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        benchmark: its name.
        categories: of every file the category of its questions; empty where they have their own.
    """

    benchmark: str
    categories: list[str]
    form: str
    contrasts: list[str]
    questions: int | None
    bad_items: str
    system: str | None
    date: str
    seed: int


def main(job: Job[Params]) -> None:
    from steerpaper.engine.text import fix_date, load_for_prompts, use_template
    from steerpaper.steering.benchmark_prompts import ask
    from steerpaper.steering.questions import FORMS, dealt, numbered, part, read_questions
    from steerpaper.workflow.files import write_jsonl
    from steerpaper.workflow.places import named

    params = job.params
    name, form = params["benchmark"], params["form"]
    read = [
        question
        for path, category in zip(job.input["raw"], params["categories"], strict=True)
        for question in read_questions(
            path, form, named(path), category=category, bad_items=params["bad_items"]
        )
    ]
    questions = part(numbered(read), params["questions"], params["seed"], name)
    if not FORMS[form].ordered:
        questions = dealt(questions, params["seed"], name)
    tokenizer, context = load_for_prompts(job.input["model"])
    use_template(tokenizer, job.input.get("template"))
    fix_date(tokenizer, params["date"])
    rows = ask(
        tokenizer,
        questions,
        params["contrasts"],
        benchmark=name,
        system=params["system"],
        context=context,
        bad_items=params["bad_items"],
    )
    write_jsonl(job.output["prompts"], rows)


if __name__ == "__main__":
    run(main)
