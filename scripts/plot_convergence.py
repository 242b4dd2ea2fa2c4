"""Draw the convergence of vectors of one contrast."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    from steerpaper.engine.layers import resolve_layers
    from steerpaper.plots.steering_full import convergence
    from steerpaper.plots.style import save
    from steerpaper.workflow.files import read_table

    table = read_table(job.input["table"])
    table = table[table["contrast"] == job.wildcards["contrast"]]
    layers = resolve_layers(job.params["layers"], table["layer"].max() + 1, "figures.layers")
    table = table[table["layer"].isin(layers)]
    save(convergence(table), job.output, table)


if __name__ == "__main__":
    run(main)
