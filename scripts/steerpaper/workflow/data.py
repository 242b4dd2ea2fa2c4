"""Raw data as a rule's params: by what a file says, not by when it was written."""

import hashlib
from pathlib import Path
from typing import Any

from steerpaper.workflow.files import sha256
from steerpaper.workflow.sources import digest, kind_of, said

# a larger file is known by its size and time: it would be read at every start of the workflow
LARGE = 16_000_000


def content(source: Any) -> str:
    """What a file of raw data says, as a digest; blank lines at its end say nothing.

    So that a file that is copied, touched or cloned anew re-runs nothing. What is fetched is
    pinned, and known before it is there.
    """
    if isinstance(source, dict):
        return digest(source)
    if not source:
        return "none"
    path = Path(source)
    try:
        about = path.stat()
        if about.st_size > LARGE:
            return f"{about.st_size} bytes of {about.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes().rstrip()).hexdigest()[:16]
    except OSError:
        # Snakemake says which input is missing, and the job what cannot be read
        return "not there"


def pinned(source: Any) -> str:
    """The SHA-256 digest of a source's file; of a data set on the hub its name and commit."""
    if isinstance(source, str):
        return sha256(source)
    kind = kind_of(source)
    told: str = source["sha256"] if kind == "url" else source[kind].get("sha256", said(source))
    return told
