"""Pack a study's tables, figures, configuration and logs, with the workflow, into one file."""

import json
import os
from pathlib import Path
from typing import Any, TypedDict

from steerpaper.workflow.job import Job, log, run

CRATE = "ro-crate-metadata.json"


class Params(TypedDict):
    """The rule's settings: the configuration, and the names of the rules that draw."""

    config: dict[str, Any]
    plots: list[str]


def main(job: Job[Params]) -> None:
    from steerpaper.workflow import archive, places
    from steerpaper.workflow.crate import described
    from steerpaper.workflow.files import read_json
    from steerpaper.workflow.judges import endpoints_of

    config = job.params["config"]
    results = Path(job.output["archive"]).parent
    study, root = results.name, results.parents[1]
    workflow = Path(job.input["snakefile"]).parent
    keys = (endpoint["key_variable"] for _, endpoint in endpoints_of(config))
    secrets = places.secrets(os.environ, *keys)
    folders = places.machine(root, workflow, *map(Path, places.model_names(config)))

    shared, data = archive.shareable(config)
    members: dict[str, Path | bytes] = {
        **data,
        "config.yaml": archive.as_yaml(shared),
        "Snakefile": archive.snakefile(job.params["plots"]),
        "README.md": archive.readme(shared),
    }
    for path in map(Path, job.input["workflow"]):
        members[f"workflow/{path.relative_to(workflow)}"] = path
    made = [Path(path) for path in job.input["results"]]
    for path in made:
        if path.parent in (results / "tables", root / "figures" / study):
            members[str(path.relative_to(root))] = path
    records = [path for path in made if path.parent == results and path.name != CRATE]
    records += archive.logs(results, own=(Path(job.log), results / "benchmarks/archive.tsv"))
    for path in records:
        text = path.read_text(encoding="utf-8", errors="replace")
        members[str(path.relative_to(root))] = places.cleaned(text, folders, secrets).encode()
    # of the whole archive, so at its root
    made_of = archive.held(read_json(results / "provenance.json"), members, data)
    members[CRATE] = json.dumps(described(made_of, workflow / "CITATION.cff"), indent=2).encode()

    archive.refuse_secrets(members, secrets)
    archive.pack(job.output["archive"], study, members)
    log.info(
        "%s: %d files, among them the study's raw data (%s): see that you may share these",
        job.output["archive"],
        len(members),
        ", ".join(sorted(data)) or "none",
    )


if __name__ == "__main__":
    run(main)
