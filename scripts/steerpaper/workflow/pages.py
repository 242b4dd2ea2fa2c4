"""Tables as pages: one HTML file each, sorted and filtered in the browser, with nothing fetched."""

import csv
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

Cells = Sequence[Sequence[str]]


def read_cells(path: str | Path) -> tuple[list[str], list[list[str]]]:
    """A CSV table's columns and cells, as they are written."""
    with open(path, encoding="utf-8", newline="") as lines:
        columns, *cells = csv.reader(lines)
    return columns, cells


def table_page(template: str, name: str, about: str, columns: Sequence[str], cells: Cells) -> str:
    """A page that shows a table.

    Args:
        template: HTML with $name, $about and $table (JSON: columns, cells).
        about: what the table holds, one or two sentences.
    """
    table = json.dumps({"name": name, "columns": columns, "cells": cells}, ensure_ascii=False)
    # a cell's text must not end the script that it stands in
    table = table.replace("<", "\\u003c")
    return Template(template).substitute(
        name=html.escape(name), about=html.escape(about), table=table
    )


def flat(value: Any, path: str = "") -> list[list[str]]:
    """Nested mappings as rows of a dotted path and a value; a list of plain values is one value."""
    if isinstance(value, Mapping) and value:
        return [
            row
            for key, below in value.items()
            for row in flat(below, f"{path}.{key}" if path else str(key))
        ]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [[path, text]]
