"""What the library's files do is noted in the working folder, and a note is of what a file says."""

import json
import os

import pytest
from conftest import ROOT

from steerpaper.workflow import code

SCRIPTS = ROOT / "scripts"
CACHES = (code.code_digests, code.imported_modules, code._read, code._imported, code._files)


def anew(*paths):
    """As a process of its own: what earlier ones noted, nothing else."""
    for one in CACHES:
        one.cache_clear()
    code.NOTES.found.clear()
    code.NOTES.is_new = False
    code.read_notes(*paths)


@pytest.fixture
def notes(tmp_path):
    yield tmp_path / "notes.json"
    anew(tmp_path / "none.json")
    code.NOTES.path = None


def library(folder):
    """A script and the module that it imports."""
    (folder / "steerpaper").mkdir()
    (folder / "steerpaper/__init__.py").write_text("")
    (folder / "steerpaper/one.py").write_text('"""Says."""\n\nimport json  # a comment\n')
    (folder / "script.py").write_text("from steerpaper import one\n")
    return folder / "script.py"


def test_with_notes_digests_are_what_they_are_without(notes):
    def digests():
        names = ("table", "figure", "steering/sweep", "lookups/neurons")
        return [list(code.code_digests(SCRIPTS / f"{one}.py", SCRIPTS).items()) for one in names]

    anew(notes)
    without = digests()
    code.write_notes()
    anew(notes)
    assert digests() == without
    assert not code.NOTES.is_new
    # and by another folder's notes, to which none are added
    before = notes.read_bytes()
    anew(notes.with_name("mine.json"), notes)
    assert digests() == without
    assert not code.NOTES.is_new
    assert notes.read_bytes() == before


def test_an_edited_file_has_another_digest_whatever_is_noted_and_its_time_says(notes, tmp_path):
    script = library(tmp_path)
    anew(notes)
    before = code.code_digests(script, tmp_path)
    code.write_notes()
    module = tmp_path / "steerpaper/one.py"
    time = module.stat().st_mtime_ns
    module.write_text(module.read_text().replace("json", "math"))
    os.utime(module, ns=(time, time))
    anew(notes)
    now = code.code_digests(script, tmp_path)
    assert [name for name in now if now[name] != before[name]] == ["steerpaper/one.py"]


def test_what_is_no_note_or_another_readers_is_read_anew(notes, tmp_path):
    script = library(tmp_path)
    anew(notes)
    expected = code.code_digests(script, tmp_path)
    code.write_notes()
    noted = json.loads(notes.read_text())
    wrong = {key: ["0" * 16, []] for key in noted["found"]}
    for text in ("", "{", "[]", json.dumps({"reader": "another", "found": wrong})):
        notes.write_text(text)
        anew(notes)
        assert code.code_digests(script, tmp_path) == expected


def test_where_nothing_can_be_written_there_are_no_notes(notes, tmp_path):
    script = library(tmp_path)
    (tmp_path / "file").write_text("")
    anew(tmp_path / "file/notes.json")
    assert code.code_digests(script, tmp_path)
    code.write_notes()
    assert (tmp_path / "file").read_text() == ""
