"""Reading and writing the workflow's files: every output appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from steerpaper.errors import UserError, writing

if TYPE_CHECKING:
    # imported where tables or tensors are read or written: a job that has none does without
    import pandas as pd
    from numpy.typing import NDArray

METADATA = "steerpaper"
PART = 50_000  # rows of a table that are held at a time where it is read or written in parts

Arrays: TypeAlias = "dict[str, NDArray[Any]]"


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is moved into place, else removed.

    Raises:
        UserError: the disk is full or the folder read-only.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left_by_a_kill in path.parent.glob(f".{path.stem}.*.part{path.suffix}"):
            left_by_a_kill.unlink(missing_ok=True)
        try:
            yield part
            with open(part, "rb") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def iter_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Read one JSON object a line, one after the other."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """Read one JSON object a line."""
    return list(iter_jsonl(path))


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    with whole(path) as part, open(part, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's rows, one mapping each."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a file that holds one JSON object."""
    with open(path, encoding="utf-8") as source:
        content: dict[str, Any] = json.load(source)
    return content


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object, indented so that a person can read it."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a Parquet or CSV table, by the file's ending."""
    import pandas as pd

    if Path(path).suffix == ".parquet":
        return pd.read_parquet(path)
    # "None" and "NA" are texts that a model may write, not missing values
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Write a Parquet or CSV table, by the file's ending."""
    with whole(path) as part:
        if Path(path).suffix == ".parquet":
            table.to_parquet(part, index=False)
        else:
            table.to_csv(part, index=False, float_format="%.6g")


@contextmanager
def table_writer(path: str | Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that appends rows to a Parquet table; some ten thousand are held at most.

    The first rows say what columns there are and of what types.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    with whole(path) as part:
        writer: Any = None
        held: list[pd.DataFrame] = []

        def flush() -> None:
            nonlocal writer
            rows = pd.concat(held, ignore_index=True)
            held.clear()
            schema = writer.schema if writer else None
            table = pa.Table.from_pandas(rows, schema=schema, preserve_index=False)
            writer = writer or pq.ParquetWriter(part, table.schema)
            writer.write_table(table)

        def append(rows: pd.DataFrame) -> None:
            held.append(rows)
            if sum(map(len, held)) >= PART:
                flush()

        try:
            yield append
            if held:
                flush()
        finally:
            if writer:
                writer.close()


def read_table_parts(
    path: str | Path, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Read columns (or all) of a Parquet table, some ten thousand rows at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as source:
        for part in source.iter_batches(batch_size=PART, columns=columns and list(columns)):
            yield part.to_pandas()


class Sliced(Protocol):
    """A tensor on disk, or an array: indexed alike, and what is not asked for is not read."""

    def __getitem__(self, which: Any, /) -> NDArray[Any]: ...


class SlicedTensors(Mapping[str, Sliced]):
    """The tensors of a safetensors file; of each only those slices that are asked for are read.

    Of an array, `tensors[key][:, 3:4]` is the same.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file's header alone."""
        from safetensors import safe_open

        self._path = str(path)
        with safe_open(self._path, framework="numpy") as source:
            self._keys = list(source.keys())
            self.metadata = json.loads((source.metadata() or {}).get(METADATA, "{}"))

    def __getitem__(self, key: str) -> Sliced:
        if key not in self._keys:
            raise KeyError(key)
        from safetensors import safe_open

        # opened anew each time, so that what was read before is let go of
        with safe_open(self._path, framework="numpy") as source:
            found: Sliced = source.get_slice(key)
            return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def in_parts(path: str | Path) -> Any:
    """A large file, read in parts: a table's rows, a safetensors file's slices."""
    return SlicedTensors(path) if Path(path).suffix == ".safetensors" else read_table_parts(path)


def read_tensors(path: str | Path) -> tuple[Arrays, dict[str, Any]]:
    """Read all tensors of a safetensors file, and its metadata."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as source:
        tensors = {key: source.get_tensor(key) for key in source.keys()}  # noqa: SIM118
        return tensors, json.loads((source.metadata() or {}).get(METADATA, "{}"))


def write_tensors(
    path: str | Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
) -> None:
    """Write tensors to a safetensors file; refuses numbers that are not finite."""
    import numpy as np
    from safetensors.numpy import save_file

    for key, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise UserError(
                f"{path}: '{key}' has values that are not finite; "
                "with dtype float16 the model may overflow: set dtype: float32 or bfloat16"
            )
    contiguous = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
    with whole(path) as part:
        # one key: safetensors writes several in an order that changes from run to run
        save_file(contiguous, part, metadata={METADATA: json.dumps(metadata)})
