"""Fetch the language model, pinned, and put it into one folder in Hugging Face format."""

from pathlib import Path

from steerpaper.errors import writing
from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.fetch import fetch_model

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
