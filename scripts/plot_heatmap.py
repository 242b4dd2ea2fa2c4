"""Draw the heatmap of steering."""

from steerpaper.job import Job, run


def main(job: Job) -> None:
    from steerpaper.files import read_table
    from steerpaper.plots.steering import heatmap
    from steerpaper.plots.style import save

    table = read_table(job.input["table"])
    save(heatmap(table), job.output, table)


if __name__ == "__main__":
    run(main)
