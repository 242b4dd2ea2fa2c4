"""Write what is said to every bad input into docs/trust.md: `python tests/bad_inputs/write.py`."""

import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "scripts")]

from tiny_models import make_model, make_tokenizer  # noqa: E402

from bad_inputs import BEGIN, DOCS, END, areas, as_rows, message_of  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        model = make_model(Path(place) / "model", "llama", make_tokenizer(Path(place) / "words"))
        lines = []
        for area, cases in areas().items():
            said = {}
            for number, (name, case) in enumerate(cases.items()):
                folder = Path(place) / f"{area}-{number}"
                folder.mkdir()
                said[name] = message_of(case, folder, model)
            lines += as_rows(area, said)
    before, rest = DOCS.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    DOCS.write_text(before + BEGIN + "\n" + "\n".join(lines) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
