"""Join the corpus shards' top-activating prompts into one table; count what is missing."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    top: int


def main(job: Job[Params]) -> None:
    from steerpaper.lookups.corpus import SPLITS, count_prompts
    from steerpaper.lookups.top_activations import firing_counts, merge_tables
    from steerpaper.workflow.files import read_table, write_table

    k = job.params["top"]
    table = merge_tables([read_table(part) for part in job.input["parts"]], k)
    sizes = {split: count_prompts(job.input[split]) for split in SPLITS}
    counts = firing_counts(read_table(job.input["neurons"]), table, sizes, k)
    for row in counts[counts["missing"] > 0].itertuples():
        log.warning(
            "block %d neuron %d fires on %d %s prompts only, %d were asked for",
            row.layer,
            row.neuron,
            row.prompts,
            row.split,
            k,
        )
    write_table(job.output["activations"], table)
    write_table(job.output["counts"], counts)


if __name__ == "__main__":
    run(main)
