"""Write the headline tables as LaTeX."""

from pathlib import Path
from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings: the headlines by table."""

    headlines: dict[str, dict[str, Any]]


def main(job: Job[Params]) -> None:
    from steerpaper.steering.tables.latex import Headline, latex_table
    from steerpaper.workflow.files import read_table, whole

    for source, target in zip(job.input["tables"], job.output["tables"], strict=True):
        name = Path(source).stem
        headline = Headline(**job.params["headlines"][name])
        with whole(target) as part:
            part.write_text(latex_table(read_table(source), headline, name), encoding="utf-8")


if __name__ == "__main__":
    run(main)
