"""Fetch the language model, pinned, and put it into one folder in Hugging Face format."""

from pathlib import Path

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.fetch import fetch_model

    fetch_model(
        Path(job.output["manifest"]).parent,
        name=job.params["name"],
        source=job.params["source"],
        where=job.params["where"],
    )


if __name__ == "__main__":
    run(main)
