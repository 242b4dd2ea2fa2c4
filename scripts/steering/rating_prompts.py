"""Write down what a judge is asked about a behaviour's completions, a question each, or two."""

import sys
from pathlib import Path
from typing import NotRequired, TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings: what the rating file says, as a digest, and what the judge is told."""

    data: str
    about: NotRequired[str]


def main(job: Job[Params]) -> None:
    from steerpaper.steering.rating_prompts import rating_prompts, read_rating
    from steerpaper.workflow.files import iter_jsonl, read_table, write_jsonl

    rating = read_rating(job.input["rating"])
    questions = {row["id"]: row["question"] for row in iter_jsonl(job.input["prompts"])}
    samples = read_table(job.input["samples"])
    behavior = job.wildcards["behavior"]
    asked = rating_prompts(samples, questions, rating, behavior=behavior)
    if "to_label" in job.output:
        from steerpaper.steering.about import read_about
        from steerpaper.steering.judged_labels import description, label_prompts

        file = job.input["about"]
        told = description(read_about(file), behavior=behavior, file=file)
        to_label = label_prompts(samples, questions, told, behavior=behavior)
        write_jsonl(job.output["to_label"], to_label)
    write_jsonl(job.output["asked"], asked)


if __name__ == "__main__":
    run(main)
