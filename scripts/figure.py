"""Draw a figure: read the tables that a row of report/figures.yaml names, call its function."""

from importlib import import_module
from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        draw: the function.
        tables: the inputs that it is given, in its order.
        measured: those that hold a row for every measure.
        measure: the one that is drawn.
        blocks: the blocks that are shown; None for all.
    """

    draw: str
    tables: list[str]
    measured: list[str]
    measure: str
    blocks: Any


def main(job: Job[Params]) -> None:
    from steerpaper.engine.layers import resolve_layers
    from steerpaper.plots.style import readable, save
    from steerpaper.workflow.files import read_table

    params = job.params
    module, _, name = params["draw"].rpartition(".")
    draw = getattr(import_module(f"steerpaper.{module}"), name)
    tables = {key: read_table(job.input[key]) for key in params["tables"]}
    for key in params["measured"]:
        tables[key] = tables[key][tables[key]["measure"] == params["measure"]]
    shown = params["tables"][0]
    if "contrast" in job.wildcards:
        of_contrast = tables[shown]["contrast"] == job.wildcards["contrast"]
        tables[shown] = tables[shown][of_contrast]
    if params["blocks"] is not None:
        n_layers = int(tables[shown]["layer"].max()) + 1
        blocks = resolve_layers(params["blocks"], n_layers, "figures.layers")
        tables[shown] = tables[shown][tables[shown]["layer"].isin(blocks)]
    # the data beside the figure is as it is in the table
    save(draw(*map(readable, tables.values())), job.output, tables[shown])


if __name__ == "__main__":
    run(main)
