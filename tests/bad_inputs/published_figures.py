"""What a paper printed, as files that cannot be read or that say what cannot be."""

from bad_inputs import file_for
from steerpaper.lookups.tables.published import read_published
from steerpaper.published.registry import read_paper, read_registry

HEADER = "quantity,model,setting,value,sd,n,unit,source,commit\n"
ABOUT = "title: Someone 2025\nsource: a preprint\nmodels: {Tiny: {id: [someone/tiny]}}\n"

_table = file_for(read_published, "published.csv")


def _row(**cells):
    """A file of one number, with other cells."""
    whole = {
        **{"quantity": "p_matching", "model": "Tiny", "setting": "behavior=calm", "value": "0.5"},
        **{"sd": "", "n": "", "unit": "share", "source": "a.txt", "commit": "0123abc"},
        **cells,
    }
    return HEADER + ",".join(whole.values()) + "\n"


def _paper(numbers, about=ABOUT):
    """A paper's two files."""

    def case(folder, model):
        (folder / "paper.csv").write_text(numbers)
        (folder / "paper.yaml").write_text(about)
        read_paper(folder / "paper.csv", folder / "paper.yaml", read_registry())

    return case


CASES = {
    "no file": lambda folder, model: read_published(folder / "published.csv"),
    "a file that is empty": _table(""),
    "a file that is not text": _table(HEADER.encode() + b"\xff"),
    "other columns": _table("quantity,model,value\n"),
    "a row with a cell too few": _table(HEADER + "p_matching,Tiny,,0.5,,,share,a.txt\n"),
    "a row without a value": _table(_row(value="")),
    "a value that is no number": _table(_row(value="high")),
    "a value that is infinite": _table(_row(value="inf")),
    "a standard deviation below 0": _table(_row(sd="-0.1")),
    "half an item": _table(_row(n="2.5")),
    "a commit that is a branch": _table(_row(commit="main")),
    "a cell that does not end": _table(HEADER + 'p_matching,"Tiny,,0.5,,,share,a.txt,0123abc\n'),
    "a setting without a value": _table(_row(setting="behavior=")),
    "a setting with a comma between": _table(_row(setting='"behavior=calm, multiplier=1"')),
    "a setting with a key twice": _table(_row(setting="multiplier=1; multiplier=2")),
    "a number that stands twice": _table(_row() + _row().removeprefix(HEADER)),
    "a published quantity that is unknown": _paper(_row(quantity="p_match")),
    "a unit that is not the quantity's": _paper(_row(unit="nats")),
    "a share of 54": _paper(_row(value="54")),
    "a position of 2": _paper(_row(quantity="position", setting="", value="2", unit="position")),
    "a setting's key that the quantity has not": _paper(_row(setting="behaviour=calm")),
    "a published number of a model that the paper's file does not have": _paper(_row(model="Big")),
    "a paper without models": _paper(_row(), "title: Someone 2025\nsource: a preprint\n"),
    "a paper's model without its name on the hub": _paper(
        _row(), ABOUT.replace("{id: [someone/tiny]}", "{revision: main}")
    ),
    "a paper that speaks of an unknown quantity": _paper(
        _row(), ABOUT + "quantities: {tea: {protocol: {steering.layer: 3}}}\n"
    ),
    "a paper that declares one of our quantities": _paper(
        _row(), ABOUT + "quantities: {p_matching: {unit: share, error: none, keys: {}}}\n"
    ),
    "a paper's quantity of an unknown unit": _paper(
        _row(), ABOUT + "quantities: {tea: {unit: cups, error: none, keys: {}}}\n"
    ),
}
