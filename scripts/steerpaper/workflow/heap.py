"""Freed memory that a process keeps: a pass makes anew what the one before it freed.

glibc gives a large block back to the kernel when it is freed, which clears each page of the next
one: a fifth of a scoring job's CPU time. Kept, it is used again; no number depends on it. But
blocks of many sizes leave gaps, which grow with the number of prompts: it is given back once a
batch of these.
"""

import ctypes
from contextlib import suppress
from functools import cache

# mallopt's names for what is given back at the end, and for blocks that are mapped by themselves
TRIM_THRESHOLD, MMAP_MAX = -1, -4
NEVER, NONE = -1, 0


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL("libc.so.6")


def keep_freed() -> None:
    """Keep all freed memory from here on; does nothing where there is no glibc."""
    with suppress(OSError, AttributeError):
        _libc().mallopt(MMAP_MAX, NONE)
        _libc().mallopt(TRIM_THRESHOLD, NEVER)


def give_back() -> None:
    """Give what is freed back to the kernel, this time; does nothing where there is no glibc."""
    with suppress(OSError, AttributeError):
        _libc().malloc_trim(0)
