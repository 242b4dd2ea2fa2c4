"""Record what the results were made from."""

import platform
from pathlib import Path
from typing import Any, TypedDict

import yaml

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings."""

    config: dict[str, Any]
    made: dict[str, str]


def main(job: Job[Params]) -> None:
    from steerpaper.workflow import places, provenance
    from steerpaper.workflow.files import read_json, whole, write_json
    from steerpaper.workflow.records import study_of
    from steerpaper.workflow.trace import fetched_data, refuse_other_model, refuse_stale

    study, sources = study_of(job.log), {}
    if study is not None:
        refuse_stale(study, job.input["results"], job.params["made"])
        refuse_other_model(Path(job.input["model"]))
        sources = fetched_data(study, job.input["results"])
    workflow = Path(provenance.__file__).parents[3]
    config = job.params["config"]
    data = places.data_names(config)
    files = {data.get(path, places.named(path)): path for path in job.input["data"]}
    files |= {path: path for path in [*sources, *job.input["results"]]}
    write_json(
        job.output["provenance"],
        {
            "study": config["study"],
            "workflow": provenance.commit(workflow),
            "python": platform.python_version(),
            "packages": provenance.installed(workflow / "envs/lock.txt"),
            "model": read_json(job.input["model"]),
            "config": places.portable(config),
            "sources": sources,
            "files": provenance.digests(files),
        },
    )
    # to be run again on this machine: its paths stay as they were given
    with whole(job.output["config"]) as part:
        part.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), "utf-8")


if __name__ == "__main__":
    run(main)
