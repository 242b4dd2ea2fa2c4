"""Typst compiles a manuscript: offline, with its own fonts, the same bytes every time."""

import difflib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typst

from steerpaper.errors import UserError, writing

# where a manuscript's folder lies for Typst, whose root holds what every manuscript may use
FOLDER = "manuscript"
ENTRY = "entry.typ"
# what `datetime.today()` and the PDF's dates are: no day of a run
TIME = 0
_PLACE = re.compile(rf"┌─ \S*?{FOLDER}/(.+?):(\d+):\d+")
_MISSING = re.compile(r"panicked with: no (number|figure) (.+)")


@dataclass(frozen=True)
class Manuscript:
    """A manuscript and what it may use.

    Attributes:
        path: its file, in whose folder its own images and texts lie.
        shared: the folder with template.typ and references.yml.
        numbers: what `num` looks up.
        study: all else that the template shows.
        figures: PDF files by the name that the study's figures have.
    """

    path: Path
    shared: Path
    numbers: Mapping[str, Mapping[str, Any]]
    study: Mapping[str, Any]
    figures: Mapping[str, Path]


def compiled(manuscript: Manuscript, form: Literal["pdf", "html"]) -> bytes:
    """The manuscript in a form that Typst can write: pdf, or html.

    Raises:
        UserError: it names a number or figure that is not there, Typst cannot set it, or the
            disk of temporary files is full.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with writing(root):
            _lay_out(root, manuscript)
        try:
            made: bytes = typst.compile(
                root / ENTRY,
                root=root,
                format=form,
                ignore_system_fonts=True,
                timestamp=TIME,
            )
        except typst.TypstError as error:
            raise _user_error(error, root, manuscript) from error
    return made


def _lay_out(root: Path, manuscript: Manuscript) -> None:
    """Put into Typst's root what the manuscript may use."""
    (root / FOLDER).symlink_to(manuscript.path.parent.resolve(), target_is_directory=True)
    name = json.dumps(f"{FOLDER}/{manuscript.path.name}", ensure_ascii=False)
    (root / ENTRY).write_text(f"#include {name}\n", encoding="utf-8")
    for content, file in ((manuscript.numbers, "numbers"), (manuscript.study, "study")):
        (root / f"{file}.json").write_text(json.dumps(content), encoding="utf-8")
    for name in ("template.typ", "references.yml"):
        shutil.copy(manuscript.shared / name, root / name)
    (root / "figures").mkdir()
    for name, path in manuscript.figures.items():
        shutil.copy(path, root / "figures" / name)


def _user_error(error: Any, root: Path, manuscript: Manuscript) -> UserError:
    """What is wrong with a manuscript, by file and line."""
    places = _PLACE.findall(error.diagnostic)
    # the manuscript's own line, where a function of the template is called
    place = f"{manuscript.path.parent / places[-1][0]}, line {places[-1][1]}" if places else ""
    place = place or str(manuscript.path)
    if missing := _MISSING.search(error.message):
        kind, name = missing.groups()
        known = manuscript.numbers if kind == "number" else manuscript.study["known_figures"]
        where = (
            "tables/numbers.json has all names"
            if kind == "number"
            else "report/figures.yaml has all"
        )
        return UserError(f"{place}: there is no {kind} {name}{nearest(name, known)}; {where}")
    said = "; ".join([error.message, *error.hints])
    for folder in (f"{root / FOLDER}/", f"{root}/"):
        said = said.replace(folder, "")
    return UserError(f"{place}: Typst cannot set this manuscript: {said}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The names that a wrong one may stand for, in brackets; "" where none is near."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f" (nearest: {', '.join(close)})" if close else ""
