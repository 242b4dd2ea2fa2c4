"""A conda channel with two packages: the Python that runs this, as a link, and its pip."""

import hashlib
import io
import json
import platform
import sys
import tarfile
from importlib.metadata import distribution
from pathlib import Path

from rattler import Subdir

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/{PYTHON}/site-packages"
HERE = Path(__file__).parent


def python_files() -> dict[str, bytes | Path]:
    """An interpreter in the way of a virtual environment; at its end a script's job tells where
    the modules that it loaded lie (modules_of_jobs.py)."""
    home = Path(sys.base_prefix, "bin")
    return {
        "pyvenv.cfg": f"home = {home}\ninclude-system-site-packages = false\n".encode(),
        f"bin/{PYTHON}": home / PYTHON,
        "bin/python3": Path(PYTHON),
        "bin/python": Path(PYTHON),
        f"{SITE}/modules_of_jobs.py": (HERE / "modules_of_jobs.py").read_bytes(),
        f"{SITE}/modules_of_jobs.pth": b"import modules_of_jobs\n",
    }


def pip_files() -> dict[str, bytes | Path]:
    """The files of this environment's pip."""
    files = distribution("pip").files or []
    return {
        f"{SITE}/{file}": Path(file.locate()).read_bytes()
        for file in files
        if file.parts[0] != ".." and file.suffix != ".pyc"
    }


def write_package(
    folder: Path, name: str, version: str, files: dict[str, bytes | Path], depends: list[str]
) -> dict[str, dict[str, object]]:
    """Write a package, in which a path as content is a link; returns its entry in the index."""
    paths = [
        {"_path": path, "path_type": "softlink"}
        if isinstance(content, Path)
        else {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
        }
        for path, content in files.items()
    ]
    about = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends}
    info = {
        "info/index.json": json.dumps(about).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
    }
    archive = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(archive, "w:bz2", compresslevel=1) as package:
        for path, content in {**info, **files}.items():
            member = tarfile.TarInfo(path)
            if isinstance(content, Path):
                member.type, member.linkname = tarfile.SYMTYPE, str(content)
                package.addfile(member)
            else:
                member.size = len(content)
                package.addfile(member, io.BytesIO(content))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return {archive.name: {**about, "sha256": digest, "size": archive.stat().st_size}}


def write_channel(folder: Path) -> None:
    """Write the channel's packages and its indices."""
    platform_folder, noarch = folder / str(Subdir.current()), folder / "noarch"
    platform_folder.mkdir(parents=True)
    noarch.mkdir()
    python, pip = platform.python_version(), distribution("pip").version
    packages = {
        **write_package(platform_folder, "python", python, python_files(), []),
        **write_package(platform_folder, "pip", pip, pip_files(), ["python"]),
    }
    (platform_folder / "repodata.json").write_text(json.dumps({"packages": packages}))
    (noarch / "repodata.json").write_text(json.dumps({"packages": {}}))


if __name__ == "__main__":
    write_channel(Path(sys.argv[1]))
