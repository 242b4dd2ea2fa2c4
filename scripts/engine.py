"""Find the model's parts, and prove on it that it is run as its own plain pass computes."""

import math
import os
from pathlib import Path
from typing import TypedDict

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run


def main(job: Job[Params]) -> None:
    from steerpaper.engine.limit import watch
    from steerpaper.engine.proof import engine_file, load_proved
    from steerpaper.workflow.files import read_json, write_json

    manifest, engine = Path(job.input["model"]), Path(job.output["engine"])
    origin = read_json(manifest)
    lm, checks = load_proved(
        manifest.parent,
        **job.params["run"],
        **job.machine,
        name=origin["name"],
    )
    told = {key: value for key, value in job.params["run"].items() if key != "device"}
    watch(lm, manifest.parent, origin.get("files", {}), {**told, **job.machine})
    # its own file: last digits must not make anything again
    rows = [vars(check) | {"holds": check.holds} for check in checks]
    for row in rows:
        if not math.isfinite(row["difference"]):
            row["difference"] = None
    write_json(job.output["checks"], {"how": lm.how.told, "checks": rows})
    write_json(engine, engine_file(lm, os.path.relpath(manifest.parent, engine.parent)))


if __name__ == "__main__":
    run(main)
