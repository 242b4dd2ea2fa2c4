"""Compile the manuscript: the numbers, the figures with the report's captions, and the text."""

from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        declared, measures, alpha: as for the numbers.
        figures: the study's figures: name, contrast (or ""), title, and its tables by argument.
        known_figures: the names of all figures, those of parts that the study has not among them.
        few: behaviours; figures of more have another form.
        content: what the user's own manuscript says; "" for ours.
    """

    declared: dict[str, Any]
    measures: list[str]
    alpha: float
    figures: list[dict[str, Any]]
    known_figures: list[str]
    few: int
    content: str


def main(job: Job[Params]) -> None:
    from steerpaper.paper.compile import compiled
    from steerpaper.paper.gather import gathered
    from steerpaper.workflow.files import whole

    made = compiled(gathered(job.input, job.params), "pdf")
    with whole(job.output["pdf"]) as part:
        part.write_bytes(made)


if __name__ == "__main__":
    run(main)
