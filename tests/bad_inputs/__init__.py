"""Bad inputs by what they are: what a user may hand over by mistake, and what is said to it.

A module an area, each with `CASES`: a sentence that names the input -> a function that hands it
over. The function gets an empty folder, and that of a tiny model (config, tokenizer, weights), and
must end in a `UserError`. docs/trust.md holds every message as it is (tests/test_bad_inputs.py);
`python tests/bad_inputs/write.py` writes it there again.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path

Case = Callable[[Path, Path], object]
DOCS = Path(__file__).parents[2] / "docs/trust.md"
BEGIN, END = "<!-- bad inputs: begin -->\n", "<!-- bad inputs: end -->\n"


def file_for(read: Callable[[Path], object], name: str) -> Callable[[str | bytes], Case]:
    """For a reader: a function that makes a case of what a file of this name holds."""

    def holding(content: str | bytes) -> Case:
        def case(folder: Path, model: Path) -> object:
            path = folder / name
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            return read(path)

        return case

    return holding


def areas() -> dict[str, dict[str, Case]]:
    """All cases by area, in the areas' order of names."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name != "write")
    return {name: importlib.import_module(f"bad_inputs.{name}").CASES for name in names}


def message_of(case: Case, folder: Path, model: Path) -> str:
    """What is said to a bad input, without this machine's folders, in one line.

    Raises:
        AssertionError: nothing is said, or by another exception than a `UserError`.
    """
    from steerpaper.errors import UserError

    try:
        case(folder, model)
    except UserError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(f"a traceback instead of a message: {error!r}") from error
    else:
        raise AssertionError("nothing is said")
    for place in (folder, folder.resolve()):
        said = said.replace(f"{place}/", "").replace(str(place), ".")
    said = said.replace(f"{model}/", "model/").replace(str(model), "model")
    return re.sub(r"\s+", " ", said).strip()


def as_rows(area: str, said: dict[str, str]) -> list[str]:
    """An area's part of the table in docs/trust.md."""

    def cell(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")

    title = area.replace("_", " ").capitalize()
    rows = [f"| {cell(name)} | {cell(message)} |" for name, message in said.items()]
    return [f"### {title}", "", "| input | message |", "|---|---|", *rows, ""]
