"""The search for unused objects, put off where objects last: a tenth of the time there.

What is imported stays until the end of the process. So it is looked at neither while it is
imported nor afterwards.
"""

import gc


def wait() -> None:
    """Look for no unused objects until `resume` is called."""
    gc.disable()


def resume() -> None:
    """Look for unused objects among those that are made from here on."""
    gc.freeze()
    gc.enable()


def seldom() -> None:
    """Look for unused objects seldom, and among none of those that are there.

    For Snakemake's own process: a graph of jobs is many objects that last.
    """
    if not gc.get_freeze_count():
        gc.freeze()
    gc.set_threshold(50_000, 10, 10)
