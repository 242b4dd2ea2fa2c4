"""Have Snakemake make the report, and take this machine's folders out of it."""

import subprocess
from pathlib import Path
from typing import TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings: the Python that runs this Snakemake, and the workflow's Snakefile."""

    python: str
    snakefile: str


def main(job: Job[Params]) -> None:
    import yaml

    from steerpaper.errors import UserError
    from steerpaper.workflow import places
    from steerpaper.workflow.files import whole

    config = yaml.safe_load(Path(job.input["config"]).read_text(encoding="utf-8"))
    with whole(job.output["html"]) as part:
        command = [job.params["python"], "-m", "snakemake", "all"]
        command += ["--snakefile", job.params["snakefile"], "--configfile", job.input["config"]]
        command += ["--replace-workflow-config", "--profile", "none", "--workflow-profile", "none"]
        command += ["--nolock", "--report", str(part)]
        command += ["--report-stylesheet", job.input["style"]]
        with open(job.log, "a", encoding="utf-8") as log:
            made = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        if made.returncode:
            raise UserError(f"Snakemake could not make the report; {job.log} says why")
        folders = places.machine(Path.cwd(), Path(job.params["snakefile"]).parent)
        names = places.data_names(config) | places.model_names(config)
        report = part.read_text(encoding="utf-8")
        part.write_text(places.without_folders(report, folders, names), encoding="utf-8")


if __name__ == "__main__":
    run(main)
