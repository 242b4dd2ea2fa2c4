"""The one exception for mistakes that a user can mend, and what a disk says that takes no more."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class UserError(Exception):
    """Bad input: the message names the file and line or the configuration key, and the way out.

    A script prints the message alone, without a traceback, and exits with status 1.
    """


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one line, naming `path`, that its disk is full or its folder is read-only."""
    try:
        yield
    except Exception as error:
        folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
        number, words = _system_error(error)
        if number in FULL:
            raise UserError(
                f"{path}: cannot be written, the disk is full or a quota is used up ({words}); "
                "free some space and run again: what was finished is kept"
            ) from error
        if number in REFUSED and not os.access(folder, os.W_OK):
            raise UserError(
                f"{path}: cannot be written, {folder} is read-only ({words}); "
                "make it writable or work in another folder (snakemake --directory)"
            ) from error
        raise


def _system_error(error: BaseException) -> tuple[int | None, str]:
    """The operating system's error behind an exception, as number and words, where there is one."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = " ".join(str(error).split())
    # safetensors and pip have the number in their words alone
    told = re.search(r"(?:os error |\[Errno )(\d+)", words)
    return int(told[1]) if told else getattr(error, "errno", None), words
