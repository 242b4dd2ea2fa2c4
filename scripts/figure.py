"""Draw a figure: read the tables that a row of report/figures.yaml names, call its function."""

from importlib import import_module
from typing import Any, TypedDict

from steerpaper.workflow.ahead import drawn
from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        draw: the function.
        many: the function that draws it of many behaviours, if there is one.
        cut: has it panels of single behaviours?
        panels: put these on further pages, where there are many.
        tables: the inputs that it is given, in its order.
        measured: those that hold a row for every measure.
        measure: the one that is drawn.
        blocks: the blocks that are shown; None for all.
    """

    draw: str
    many: str | None
    cut: bool
    panels: bool
    tables: list[str]
    measured: list[str]
    measure: str
    blocks: Any


def main(job: Job[Params]) -> None:
    from steerpaper.engine.layers import resolve_layers
    from steerpaper.plots.pages import pages
    from steerpaper.plots.style import readable, save
    from steerpaper.workflow.files import read_table

    params = job.params
    draw, many = (_function(params[key]) for key in ("draw", "many"))
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
    figures = pages(
        draw,
        many,
        [*map(readable, tables.values())],
        cut=params["cut"],
        further=params["panels"],
    )
    save(next(figures), job.output, tables[shown], figures)


def _function(name: str | None) -> Any:
    """A function by its module's and its own name under steerpaper."""
    if name is None:
        return None
    module, _, function = name.rpartition(".")
    return getattr(import_module(f"steerpaper.{module}"), function)


if __name__ == "__main__":
    run(main, around=drawn)
