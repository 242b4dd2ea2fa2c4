"""Fetch a file of raw data, pinned, and say in its manifest where it came from."""

from pathlib import Path
from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings."""

    key: str
    source: dict[str, Any]


def main(job: Job[Params]) -> None:
    from steerpaper.workflow.fetching import fetch

    params = job.params
    fetch(
        Path(job.output["file"]),
        Path(job.output["manifest"]),
        params["source"],
        params["key"],
    )


if __name__ == "__main__":
    run(main)
