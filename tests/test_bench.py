"""The benchmark runs, and both of its sides agree; peers that are not there are said."""

import re
import subprocess
import sys

from conftest import ROOT


def test_every_stage_is_compared_and_agrees():
    command = [sys.executable, str(ROOT / "benchmarks/bench.py"), "--short"]
    made = subprocess.run(command, capture_output=True, text=True)
    # each row stops the command where the two sides differ
    assert made.returncode == 0, made.stderr[-3000:]
    rows = [line.split("|")[1:-1] for line in made.stdout.splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in row] for row in rows]
    share, difference = head.index("share of the limit"), head.index("largest difference")
    found = {row[0]: row for row in rows}
    stages = ("activations", "sweep", "greedy", "sampled", "neurons", "top", "truncation", "head")
    assert all(any(stage in name for name in found) for stage in stages)
    for name, row in found.items():
        assert float(row[head.index("ratio")]) > 0
        # congruence is read off the weights
        assert name.startswith("neurons") or 0 < float(row[share]) < 1.5, row
        assert "sampled" in name or re.fullmatch(r"none|\de-\d+", row[difference]), row
    for peer in ("steering-vectors", "transformer-lens"):
        assert peer in made.stdout


def test_a_peer_that_cannot_be_had_is_said(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from peers import make

    (tmp_path / "nothing.txt").write_text("no-such-package-as-this==0.0.0\n")
    monkeypatch.setattr(make, "HERE", tmp_path)
    monkeypatch.setattr(make, "PIP", [*make.PIP, "--no-index"])
    assert "no-such-package-as-this" in make.make("nothing")
    assert not (tmp_path / "nothing/.venv/ready").exists()


def test_peers_are_pinned():
    for path in (ROOT / "benchmarks/peers").glob("*.txt"):
        pins = [line for line in path.read_text().splitlines() if line]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), path


def test_the_page_has_the_markers_between_which_the_table_is_put():
    text = (ROOT / "docs/performance.md").read_text()
    begin, end = "<!-- made by make bench -->", "<!-- end of what make bench made -->"
    assert text.index(begin) < text.index(end)
