"""Join the sweep's shards; choose the block to report: the configured one, or the best on dev."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    layer: int | list[int] | str


def main(job: Job[Params]) -> None:
    from steerpaper.steering.choose import best_block, join_shards
    from steerpaper.workflow.files import read_table, write_json, write_table

    scores = join_shards([read_table(shard) for shard in job.input["shards"]])
    chosen = best_block(scores, job.params["layer"])
    log.info(
        "%s (%s): block %s, chosen: %s",
        job.wildcards["behavior"],
        job.wildcards["contrast"],
        "+".join(map(str, chosen["layers"])),
        chosen["chosen"],
    )
    write_table(job.output["scores"], scores)
    write_json(job.output["block"], {**job.wildcards, **chosen})


if __name__ == "__main__":
    run(main)
