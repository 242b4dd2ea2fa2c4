"""Fetching what `sources` names: pinned, whole or not at all, from where it stopped last time."""

import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError, writing
from steerpaper.workflow.files import sha256, whole, write_json
from steerpaper.workflow.sources import Where, kind_of, said

log = logging.getLogger(__name__)

GITHUB = "https://raw.githubusercontent.com"
# the formats of hub data sets whose rows are read, the preferred first
ROWS = (".parquet", ".jsonl", ".csv")

# of one file: attempts, seconds before the second one (then twice as many), seconds without a byte
ATTEMPTS = 5
PAUSE = 1.0
SILENCE = 60.0
# what a server says when it may do better later
BUSY = {408, 425, 429, 500, 502, 503, 504}
OFFLINE = (
    "is there a network? On a machine without one, run `snakemake fetch` where there is one and "
    "copy results/data/ over, or give the file's path instead"
)
LATER = "run again later: what came of it is kept, and the rest is fetched"


def fetch(target: Path, manifest: Path, source: Where, key: str) -> dict[str, Any]:
    """Fetch a source's file to `target` and say in `manifest` what it is.

    Args:
        key: of the configuration, for messages.

    Raises:
        UserError: it is not there, needs an account, is another file than was pinned, or there is
            no network; what came of a large file is kept, and the next call goes on from there.
    """
    kind = kind_of(source)
    licence = source.get("licence")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "hub":
            licence = licence or _from_hub(target, source["hub"], f"{key}.hub")
        else:
            at, pinned = address(source)
            download(at, target, pinned, f"{key}.{kind}")
    found = {
        "source": {name: value for name, value in source.items() if name != "licence"},
        "file": target.name,
        "sha256": sha256(target),
        "bytes": target.stat().st_size,
        "licence": licence,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(manifest, found)
    log.info("%s: %s, %d bytes", key, said(source), found["bytes"])
    return found


def address(source: Where) -> tuple[str, str]:
    """The address of an URL or a repository's file, and the digest that it must have."""
    if kind_of(source) == "url":
        return source["url"], source["sha256"]
    where = source["github"]
    return f"{GITHUB}/{where['repo']}/{where['commit']}/{where['path']}", where["sha256"]


def download(at: str, target: Path, pinned: str, key: str) -> None:
    """Download one file, whole and as it was pinned, or not at all.

    Raises:
        UserError: as `fetch`.
    """
    import httpx

    part = target.with_name(f".{target.name}.part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _stream(at, part, key)
            break
        except (_BusyError, httpx.TransportError) as error:
            if attempt == ATTEMPTS:
                advice = OFFLINE if isinstance(error, httpx.ConnectError) else LATER
                tried = f"cannot be fetched, tried {ATTEMPTS} times: {_told(error)}"
                raise UserError(f"{key}: {at} {tried}; {advice}") from error
            wait = getattr(error, "wait", None) or PAUSE * 2 ** (attempt - 1)
            log.info("%s: %s; trying again in %g s", key, _told(error), wait)
            time.sleep(wait)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UserError(f"{key}: {at} cannot be fetched: {_told(error)}") from error
    found = sha256(part)
    if found != pinned:
        part.unlink()
        raise UserError(
            f"{key}: {at} has the SHA-256 digest {found}, the configuration says {pinned}: it is "
            "not the file that was pinned; look at what changed there before you change the digest"
        )
    os.replace(part, target)


class _BusyError(Exception):
    """A server that may do better later; `wait` is how many seconds it asks for."""

    def __init__(self, words: str, wait: float | None) -> None:
        super().__init__(words)
        self.wait = wait


def _stream(at: str, part: Path, key: str) -> None:
    """Fetch what a part of a file lacks, and append it."""
    import httpx

    there = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with httpx.stream(
        "GET", at, headers=headers, follow_redirects=True, timeout=SILENCE
    ) as response:
        status = response.status_code
        if status == 416:  # nothing is lacking, or the part is longer than the file
            if response.headers.get("Content-Range") != f"bytes */{there}":
                part.unlink()
                raise _BusyError("the part that was kept is no part of it", 0.01)
            return
        if status in BUSY:
            raise _BusyError(f"status {status}", _asked_wait(response.headers.get("Retry-After")))
        if status in (401, 403):
            raise UserError(
                f"{key}: {at} is not open to all (status {status}); fetch it with your account and "
                "give the file's path instead"
            )
        if status not in (200, 206):
            raise UserError(
                f"{key}: {at} is not there (status {status}); has it moved? Give its new address: "
                "the digest says whether it is the same file"
            )
        length = response.headers.get("Content-Length")
        came = 0
        with open(part, "ab" if status == 206 else "wb") as out:
            for chunk in response.iter_bytes():
                out.write(chunk)
                came += len(chunk)
        if length is not None and came < int(length):
            raise _BusyError(f"the connection ended after {came} of {length} bytes", None)


def _asked_wait(header: str | None) -> float | None:
    """Seconds that a server asks to wait, a minute at most; None where it says none."""
    return min(float(header), 60.0) if header and header.isdigit() else None


def hub_snapshot(
    where: Where, patterns: Iterable[str], *, key: str, repo_type: str = "dataset", **options: Any
) -> Path:
    """Files of a hub repository at a pinned revision, in the hub's own cache: resumable.

    Raises:
        UserError: names the key, what the hub says, and what to do.
    """
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(
            where["id"],
            repo_type=repo_type,
            revision=where["revision"],
            allow_patterns=list(patterns),
            **options,
        )
    except Exception as error:  # what a server answers is data too
        said = _answer(error)
        raise UserError(
            f"{key}: {where['id']} at revision {where['revision']} cannot be fetched: "
            f"{_told(said)}; {_hub_advice(said)}"
        ) from error
    return Path(found)


def _answer(error: BaseException) -> BaseException:
    """What the hub answered, behind the client's words that nothing is in the cache."""
    from huggingface_hub.errors import HfHubHTTPError

    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, HfHubHTTPError):
        behind = behind.__cause__ or behind.__context__
    return behind or error


def _hub_advice(error: BaseException) -> str:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, GatedRepoError):
        return (
            "it is gated: ask for access on its page, then log in (`hf auth login`, or the "
            "environment variable HF_TOKEN)"
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return "log in to the hub (`hf auth login`, or the environment variable HF_TOKEN)"
    if isinstance(error, LocalEntryNotFoundError | OSError) and not isinstance(
        error, HfHubHTTPError
    ):
        return "check the network, or fetch it into the hub's cache (HF_HOME) where there is one"
    return "check the id and the revision, and for what is not public, that you are logged in"


def split_files(names: Iterable[str], split: str) -> list[str]:
    """The files of a hub data set that hold a split: Parquet if there is any, else JSON Lines, CSV.

    A file belongs to the split whose name is a word of its path (`data/train-00000-of-00001`).
    """
    known = list(names)
    for ending in ROWS:
        found = [
            name
            for name in known
            if name.endswith(ending) and split in re.split(r"[/._-]", name.removesuffix(ending))
        ]
        if found:
            return sorted(found)
    return []


def _from_hub(target: Path, where: Where, key: str) -> str | None:
    """Put a data set's file, or the rows of its split, to `target`; returns its licence."""
    if "file" in where:
        folder = hub_snapshot(where, [where["file"]], key=key)
        if not (folder / where["file"]).is_file():
            raise UserError(f"{key}.file: {where['id']} has no file {where['file']}")
        with whole(target) as part:
            part.write_bytes((folder / where["file"]).read_bytes())
        return _licence(where)
    folder = hub_snapshot(where, [f"*{where['split']}*{ending}" for ending in ROWS], key=key)
    held = (path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    files = split_files(held, where["split"])
    if not files:
        raise UserError(
            f"{key}.split: {where['id']} has no {', '.join(ROWS)} file whose path names the split "
            f"'{where['split']}'"
        )
    with whole(target) as part, open(part, "w", encoding="utf-8") as out:
        for row in _rows(folder, files, where, key):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return _licence(where)


def _rows(folder: Path, files: Iterable[str], where: Where, key: str) -> Iterator[dict[str, Any]]:
    """The wanted columns of a split, under the names that the configuration gives them."""
    import pandas as pd
    import pyarrow.parquet as pq

    columns: Mapping[str, str] = where["columns"]
    for name in files:
        path = folder / name
        if path.suffix == ".parquet":
            parts = (part.to_pandas() for part in pq.ParquetFile(path).iter_batches(1000))
        elif path.suffix == ".jsonl":
            parts = (part for part in pd.read_json(path, lines=True, dtype=False, chunksize=1000))
        else:
            cells: Any = pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=1000)
            parts = (part for part in cells)
        for part in parts:
            missing = [column for column in columns.values() if column not in part]
            if missing:
                raise UserError(
                    f"{key}.columns: {where['id']}/{name} has no column {missing[0]!r}; it has "
                    f"{', '.join(map(str, part.columns[:20]))}"
                )
            wanted = part[list(columns.values())].set_axis(list(columns), axis=1)
            yield from json.loads(wanted.to_json(orient="records"))


def _licence(where: Where) -> str | None:
    """What a data set's card says of its licence; None where it says nothing or nobody answers."""
    from huggingface_hub import HfApi

    try:
        card = HfApi().dataset_info(where["id"], revision=where["revision"], timeout=10).card_data
    except Exception as error:  # it is told where it is known, and stops nothing
        log.info("%s: no licence is known: %s", where["id"], _told(error))
        return None
    found = card.get("license") if card else None
    return ", ".join(found) if isinstance(found, list) else found


def _told(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return (words if " " in words else f"{type(error).__name__}: {words}")[:300]
