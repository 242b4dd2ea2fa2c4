"""The search for unused objects, put off while a job imports and loads: a tenth of that time.

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
