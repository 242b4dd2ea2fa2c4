"""A progress bar over batches."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Result = TypeVar("Result")


def progress(
    batches: Iterable[tuple[list[int], Result]], total: int, what: str
) -> Iterator[tuple[list[int], Result]]:
    """Pass batches on while a bar counts their items; a log file gets one line in ten seconds."""
    with tqdm(total=total, desc=what, unit="item", mininterval=10) as bar:
        for batch, result in batches:
            yield batch, result
            bar.update(len(batch))
