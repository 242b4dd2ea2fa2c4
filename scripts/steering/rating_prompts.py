"""Write down what a judge is asked about a behaviour's completions, one question each."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings: what the rating file says, as a digest."""

    data: str


def main(job: Job[Params]) -> None:
    from steerpaper.steering.rating_prompts import rating_prompts, read_rating
    from steerpaper.workflow.files import iter_jsonl, read_table, write_jsonl

    rating = read_rating(job.input["rating"])
    questions = {row["id"]: row["question"] for row in iter_jsonl(job.input["prompts"])}
    samples = read_table(job.input["samples"])
    asked = rating_prompts(samples, questions, rating, behavior=job.wildcards["behavior"])
    write_jsonl(job.output["asked"], asked)


if __name__ == "__main__":
    run(main)
