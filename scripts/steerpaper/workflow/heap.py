"""Freed memory that a process keeps: a pass makes anew what the one before it freed.

glibc gives a large block back to the kernel when it is freed, which clears each page of the next
one: a fifth of a scoring job's CPU time. Kept, it is used again; no number depends on it. But
blocks of many sizes leave gaps, which grow with the number of prompts: it is given back once a
batch of these.
"""

import ctypes
from contextlib import suppress

# mallopt's names for what is given back at the end, and for blocks that are mapped by themselves
TRIM_THRESHOLD, MMAP_MAX = -1, -4
NEVER, NONE = -1, 0


def keep_freed() -> None:
    """Keep all freed memory from here on."""
    _ask_glibc("mallopt", MMAP_MAX, NONE)
    _ask_glibc("mallopt", TRIM_THRESHOLD, NEVER)


def give_back() -> None:
    """Give what is freed back to the kernel, this time."""
    _ask_glibc("malloc_trim", 0)


def _ask_glibc(function: str, *numbers: int) -> None:
    """Call a function of glibc; does nothing where there is none."""
    with suppress(OSError, AttributeError):
        getattr(ctypes.CDLL("libc.so.6"), function)(*numbers)
