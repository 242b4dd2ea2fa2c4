"""A clock that was set back: results dated after now are dated now, before any job reads them.

Snakemake refuses a job whose outputs are older than its inputs, deletes them, and would until the
clock has caught up.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def bring_back(folders: Iterable[Path]) -> int:
    """Date now what lies in the folders and is dated after now; how many files that were."""
    now = time.time_ns()
    ahead = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_mtime_ns > now
    ]
    for path in ahead:
        # another user's file stays as it is, and Snakemake names it
        with suppress(PermissionError):
            os.utime(path, ns=(now, now))
    return len(ahead)
