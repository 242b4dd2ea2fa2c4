"""Another workflow, which uses the rules as a module: what docs/module.md shows, and its runs."""

import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from warm import launcher

PAGE = (ROOT / "docs/module.md").read_text()


def block(language: str) -> str:
    """The page's first block in a language."""
    return re.search(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S).group(1)


def run_here(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run Snakemake on the Snakefile of a folder."""
    python = sys.executable if options else launcher()
    command = [python, "-m", "snakemake", *arguments, "--cores", "1"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, **options)
