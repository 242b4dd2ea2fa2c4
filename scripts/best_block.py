"""Choose the block to report: the configured one, or the best on the dev items."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    from steerpaper.files import read_table, write_json
    from steerpaper.steering.tables import best_block

    chosen = best_block(read_table(job.input["scores"]), job.params["layer"])
    log.info(
        "%s (%s): block %s, chosen: %s",
        job.wildcards["behavior"],
        job.wildcards["contrast"],
        "+".join(map(str, chosen["layers"])),
        chosen["chosen"],
    )
    write_json(job.output["block"], {**job.wildcards, **chosen})


if __name__ == "__main__":
    run(main)
