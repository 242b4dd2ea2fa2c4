"""Make a summary: read what a row of report/tables.yaml names, call its function, write tables."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

from steerpaper.workflow.job import Job, run


class Params(TypedDict):
    """The rule's settings.

    Attributes:
        make: the function.
        labels: per call of it, the columns that its tables get; empty for one call.
        names: per input, what its files are called in the mapping that a single call is given.
        finish: a function of the same module, from all tables by name to what is written, for
            what compares the calls' tables; or empty.
        parts: inputs that are read in parts.
        settings: the function's further arguments.
        data: what the workflow's own files among the inputs say.
    """

    make: str
    finish: str
    labels: list[dict[str, str]]
    names: dict[str, list[list[str]]]
    parts: list[str]
    settings: dict[str, Any]
    data: dict[str, str]


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.steering.tables.rows import labelled
    from steerpaper.workflow.files import whole, write_table

    params = job.params
    module, _, name = params["make"].rpartition(".")
    make = getattr(import_module(f"steerpaper.{module}"), name)
    settings = dict(params["settings"])
    if "interval" in settings:
        from steerpaper.stats import Interval

        settings["interval"] = Interval(**settings["interval"])
    found: dict[str, list[Any]] = {}
    for number, labels in enumerate(params["labels"] or [{}]):
        given = {key: _argument(job, key, number) for key in params["names"]}
        made = make(**given, **settings)
        if isinstance(made, pd.DataFrame):
            made = {next(iter(job.output)): made}
        for output, content in made.items():
            found.setdefault(output, []).append(labelled(content, **labels) if labels else content)
    joined = {
        output: contents[0]
        if isinstance(contents[0], str)
        else pd.concat(contents, ignore_index=True)
        for output, contents in found.items()
    }
    if params["finish"]:
        joined = getattr(import_module(f"steerpaper.{module}"), params["finish"])(joined)
    for output, content in joined.items():
        if isinstance(content, str):
            with whole(job.output[output]) as part:
                part.write_text(content, encoding="utf-8")
        else:
            write_table(job.output[output], content)


def _argument(job: Job[Params], key: str, number: int) -> Any:
    """An argument of one call: a file's content, or what all files hold, by their names."""
    read = _reader(job, key)
    paths = job.input[key]
    if isinstance(paths, str):
        return read(paths)
    if job.params["labels"]:
        return read(paths[number])
    names = [name[0] if len(name) == 1 else tuple(name) for name in job.params["names"][key]]
    return {name: read(path) for name, path in zip(names, paths, strict=True)}


def _reader(job: Job[Params], key: str) -> Callable[[str], Any]:
    from steerpaper.workflow import files

    if key in job.params["parts"]:
        return files.in_parts

    def read(path: str) -> Any:
        # what needs a model's folder, or what a paper printed, knows how to read it
        if Path(path).name == "manifest.json" or Path(path).parent.name == "published":
            return path
        if path.endswith(".safetensors"):
            return files.read_tensors(path)[0]
        readers = {".json": files.read_json, ".jsonl": files.iter_jsonl}
        return readers.get(Path(path).suffix, files.read_table)(path)

    return read


if __name__ == "__main__":
    run(main)
