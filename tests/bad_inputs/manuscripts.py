"""Manuscripts of one's own."""

from pathlib import Path

from bad_inputs import Case

SHARED = Path(__file__).parents[2] / "paper"
NUMBERS = {"steerability.calm.answers.slope": {"value": 1.0, "text": "1"}}


def manuscript(text: str | bytes) -> Case:
    """A manuscript that says this, compiled."""

    def case(folder: Path, model: Path) -> object:
        from steerpaper.paper.compile import Manuscript, compiled

        path = folder / "my-paper.typ"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        study = {"config": {}, "rows": {}, "figures": [], "known_figures": ["steerability"]}
        return compiled(Manuscript(path, SHARED, NUMBERS, study, {}), "pdf")

    return case


IMPORT = '#import "/template.typ": *\n\n'
CASES = {
    "a manuscript that names a number that is not there": manuscript(
        IMPORT + 'It is #num("steerability.calm.answer.slope").\n'
    ),
    "a manuscript that names a figure that is not there": manuscript(
        IMPORT + '#figure-of("steerabilty")\n'
    ),
    "a manuscript that Typst cannot read": manuscript("= Title\n\n#let x = \n"),
    "a manuscript that is not UTF-8": manuscript(b"caf\xe9\n"),
    "a manuscript whose image is not there": manuscript('#image("mine.png")\n'),
}
