"""Every bad input is answered with the message that docs/trust.md shows."""

import pytest
from bad_inputs import BEGIN, DOCS, END, areas, as_rows, message_of

AREAS = areas()
CASES = [(area, name) for area, cases in AREAS.items() for name in cases]


def shown():
    """The lines of the table in docs/trust.md."""
    return DOCS.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].splitlines()


@pytest.mark.parametrize(("area", "name"), CASES, ids=[name for _, name in CASES])
def test_a_bad_input_gets_the_message_that_the_docs_show(
    area, name, tmp_path, model_folders, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    message = message_of(AREAS[area][name], tmp_path, model_folders["llama"])
    assert as_rows(area, {name: message})[4] in shown(), "python tests/bad_inputs/write.py"


def test_the_docs_show_these_bad_inputs_and_no_other():
    rows = [line for line in shown() if line.startswith("| ") and line != "| input | message |"]
    assert len(rows) == len(CASES)
