"""Fetch the language model, pinned, and put it into one folder in Hugging Face format."""

from pathlib import Path
from typing import Any, TypedDict

from steerpaper.errors import writing
from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings."""

    name: str
    source: str
    where: dict[str, Any] | str


def main(job: Job[Params]) -> None:
    from steerpaper.engine.fetch import fetch_model

    manifest = Path(job.output["manifest"])
    with writing(manifest):
        fetch_model(
            manifest.parent,
            name=job.params["name"],
            source=job.params["source"],
            where=job.params["where"],
        )


if __name__ == "__main__":
    run(main)
