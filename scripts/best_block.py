"""Join the sweep's shards; choose the block to report: the configured one, or the best on dev."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    from steerpaper.files import read_table, write_json, write_table
    from steerpaper.steering.tables import best_block, join_shards

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
