"""The numbers that a paper printed: one CSV file a paper, one number a line.

Columns: quantity, model, setting (`behavior=sycophancy; multiplier=1`), value, sd, n, unit, source
(the file that the number was read in) and commit (of that file's repository).
"""

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steerpaper.errors import UserError
from steerpaper.reading import read_text, shown

COLUMNS = ("quantity", "model", "setting", "value", "sd", "n", "unit", "source", "commit")
FILLED = ("quantity", "value", "unit", "source", "commit")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_PART = re.compile(r"([a-z][a-z0-9_]*)=([^\s=;](?:[^=;]*[^\s=;])?)")


@dataclass(frozen=True)
class Number:
    """A published number.

    Attributes:
        where: the file and line that it stands in.
        setting: what it holds for, by key; `written` as the file has it.
        sd: standard deviation over its n items, where the paper gives it.
        n: the items, heads, pairs … that it rests on, where that is known.
    """

    where: str
    quantity: str
    model: str
    setting: Mapping[str, str]
    written: str
    value: float
    sd: float | None
    n: int | None
    unit: str
    source: str
    commit: str


def read_numbers(path: str | Path) -> list[Number]:
    """Read a file of published numbers.

    Raises:
        UserError: names the file and the line of what is missing, malformed or there twice.
    """
    rows = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    found: dict[tuple[object, ...], Number] = {}
    try:
        if tuple(next(rows, [])) != COLUMNS:
            raise UserError(f"{path}, line 1: expected the columns {', '.join(COLUMNS)}")
        for row in filter(None, rows):
            number = _number(row, f"{path}, line {rows.line_num}")
            name = (number.quantity, number.model, *sorted(number.setting.items()))
            if name in found:
                line = found[name].where.rpartition(" ")[2]
                raise UserError(
                    f"{number.where}: {number.quantity} of this model and setting stands in line "
                    f"{line} already; remove one, or tell them apart in the setting"
                )
            found[name] = number
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: not CSV: {error}") from error
    return list(found.values())


def _number(row: list[str], where: str) -> Number:
    """A line of the file as a number."""
    if len(row) != len(COLUMNS):
        raise UserError(f"{where}: {len(row)} cells; expected {len(COLUMNS)}")
    cells = dict(zip(COLUMNS, row, strict=True))
    if empty := [name for name in FILLED if not cells[name]]:
        raise UserError(f"{where}: no {empty[0]}; only model, setting, sd and n may be empty")
    if not _COMMIT.fullmatch(cells["commit"]):
        raise UserError(
            f"{where}: commit {shown(cells['commit'])}; expected 7 to 40 hex digits, of the commit "
            "that the number was read at"
        )
    sd, n = (_real(cells[name], name, where) if cells[name] else None for name in ("sd", "n"))
    if sd is not None and sd < 0:
        raise UserError(f"{where}: sd {shown(cells['sd'])} is below 0")
    if n is not None and not (n >= 1 and n == int(n)):
        raise UserError(f"{where}: n {shown(cells['n'])}; expected a whole number from 1 on")
    return Number(
        where=where,
        quantity=cells["quantity"],
        model=cells["model"],
        setting=read_setting(cells["setting"], where),
        written=cells["setting"],
        value=_real(cells["value"], "value", where),
        sd=sd,
        n=None if n is None else int(n),
        unit=cells["unit"],
        source=cells["source"],
        commit=cells["commit"],
    )


def _real(cell: str, name: str, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.inf
    if not math.isfinite(number):
        raise UserError(f"{where}: {name} {shown(cell)} is no number")
    return number


def read_setting(text: str, where: str) -> dict[str, str]:
    """What a number holds for, by key: `behavior=sycophancy; multiplier=1`; empty for all.

    Raises:
        UserError: it is written otherwise, or a key stands twice.
    """
    found: dict[str, str] = {}
    for part in text.split("; ") if text else ():
        match = _PART.fullmatch(part)
        if match is None:
            raise UserError(
                f"{where}: setting {shown(text)}; expected key=value, several with a semicolon and "
                "a space between: behavior=sycophancy; multiplier=1"
            )
        if match[1] in found:
            raise UserError(f"{where}: setting {shown(text)} has {match[1]} twice")
        found[match[1]] = match[2]
    return found
