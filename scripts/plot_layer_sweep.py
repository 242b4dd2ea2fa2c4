"""Draw steerability by block."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.plots.steering import layer_sweep
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    figure = layer_sweep(table, read_table(job.input["steerability"]))
    save(figure, job.output, table)


if __name__ == "__main__":
    run(main)
