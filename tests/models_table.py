"""The table of docs/models.md: every family of the tests, how it is run, and its look-ups.

python tests/models_table.py
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/models.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
HEAD = "| family | runs | look-ups |\n|---|---|---|\n"
# by what holds of the model
WAYS = {
    (True, True, True): "prefixes shared by all texts",
    (True, False, True): "each text's own prefix",
    (False, True, True): "whole rows",
    (False, True, False): "whole rows, one at a time",
}


def row(name, lm):
    """What the table says of a family."""
    from steerpaper.engine.identities import check_parts
    from steerpaper.errors import UserError

    way = WAYS[lm.how.reuse, lm.how.gaps, lm.how.padding]
    moves = lm.stretch is not None and lm.stretch.moves
    if moves:
        way += f"; beyond {lm.stretch.original} tokens one row at a time"
    try:
        check_parts(lm)
        lookups = "yes"
    except UserError as error:
        lookups = "no: " + str(error).split("told apart: ")[1].split(". Steering")[0]
    return f"| {name} | {way} | {lookups} |"


def rows_in_docs():
    """The table's rows by family, as the page has them."""
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = table.strip().splitlines()[2:]
    return {row.split(" | ")[0].removeprefix("| "): row for row in rows}


def main():
    """Write the table."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from families import FAMILIES, make_family
    from tiny_models import make_tokenizer

    from steerpaper.engine.proof import load

    with tempfile.TemporaryDirectory() as folder:
        tokenizer = make_tokenizer(Path(folder) / "tokenizer")
        rows = []
        for number, name in enumerate(FAMILIES):
            model = make_family(Path(folder) / str(number), name, tokenizer)
            rows.append(row(name, load(model, device="cpu", dtype="float32", threads=1)))
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    table = HEAD + "\n".join(rows) + "\n"
    PAGE.write_text(before + BEGIN + table + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
