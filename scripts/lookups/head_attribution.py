"""Attribute every neuron's firing to the attention heads before it."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, log, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    bos: bool | str
    published: bool


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.errors import UserError
    from steerpaper.finite import finite
    from steerpaper.lookups.attribution import (
        attribution_table,
        head_attribution,
        heads_before,
        is_active,
    )
    from steerpaper.lookups.corpus import SPLITS, ids_of
    from steerpaper.workflow.files import read_table, write_table

    lm, _ = load_manifest(job.input["model"], **job.params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    truncated = read_table(job.input["truncated"])
    ids = ids_of([job.input[split] for split in SPLITS], truncated["prompt_id"])
    published = job.params["published"]
    tables = []
    for layer in sorted(truncated["layer"].unique().tolist()):
        prompts = truncated[truncated["layer"] == layer]
        if not heads_before(lm, layer, published):
            log.warning("block %d: no head comes before its neurons; left out", layer)
            continue
        rows = [
            ids[row["prompt_id"]][row["start"] : row["end"]] for row in prompts.to_dict("records")
        ]
        attribution, scales = head_attribution(
            lm,
            layer,
            prompts["neuron"].tolist(),
            rows,
            bos=job.params["bos"],
            budget=budget,
            published=published,
        )
        active = is_active(attribution.reshape(len(rows), -1)).reshape(attribution.shape)
        none = (~active.any(axis=(1, 2))).sum()
        log.info("block %d: %d prompts, %d with no active head", layer, len(rows), none)
        tables.append(attribution_table(prompts, attribution, active, scales))
    if not tables:
        raise UserError("head attribution: no neuron has a prompt and a head before it")
    path = job.output["attribution"]
    table = pd.concat(tables, ignore_index=True)
    numbers = [column for column in ("attribution", "heads_scale") if column in table]
    write_table(path, finite(path, table, numbers))


if __name__ == "__main__":
    run(main)
