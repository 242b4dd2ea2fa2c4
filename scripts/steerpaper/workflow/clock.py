"""A clock that was set back: what a job makes is dated after what it was made from, always.

Snakemake refuses a job whose outputs are older than its inputs, deletes them, and would until the
clock has caught up.
"""

import logging
import os
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)


def date_after(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Date a job's outputs like its newest input where that is dated after now."""
    dated = {path: os.stat(path).st_mtime_ns for path in inputs if Path(path).exists()}
    newest = max(dated, key=lambda path: dated[path], default="")
    if not newest or dated[newest] <= time.time_ns():
        return
    log.warning(
        "%s is dated %s, after now: this machine's clock was set back, or another's is ahead; "
        "what was made from it is dated like it",
        newest,
        datetime.fromtimestamp(dated[newest] / 1e9).isoformat(sep=" ", timespec="seconds"),
    )
    for path in outputs:
        os.utime(path, ns=(dated[newest], dated[newest]))
