"""What a paper printed, as a table that cannot be read."""

from bad_inputs import file_for
from steerpaper.lookups.tables.published import read_published

HEADER = "quantity,neurons,model,value,sd,p\n"

_table = file_for(read_published, "published.csv")

CASES = {
    "no file": lambda folder, model: read_published(folder / "published.csv"),
    "a file that is empty": _table(""),
    "a file that is not text": _table(HEADER.encode() + b"\xff"),
    "other columns": _table("quantity,model,value\n"),
    "a row with a cell too few": _table(HEADER + "score,random,GPT-2,0.5,\n"),
    "a row without a value": _table(HEADER + "score,random,GPT-2,,,\n"),
    "a value that is no number": _table(HEADER + "score,random,GPT-2,high,,\n"),
    "a p that is infinite": _table(HEADER + "score,random,GPT-2,0.5,,inf\n"),
    "a cell that does not end": _table(HEADER + 'score,"random,GPT-2,0.5,,\n'),
}
