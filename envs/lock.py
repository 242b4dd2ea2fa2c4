"""Resolve envs/requirements.in into the project's lock: `python envs/lock.py` (needs uv).

One resolution for all platforms and Python versions from 3.11 on, in three files:

lock.txt       everything, with hashes; torch's CPU build for Linux is accepted beside the
               registry's builds, which on Linux are CUDA builds
lock.cpu.txt   that CPU build alone, by its own version, so that pip takes no other; installed
               first, where there is no NVIDIA GPU
lock.cuda.txt  the CUDA libraries that the latter need, and bitsandbytes, which is of use beside
               them alone; installed only where torch is such a build

Then run envs/environments.py, which takes the conda environments out of the lock.
"""

import re
import subprocess
import sys
from pathlib import Path

ENVS = Path(__file__).parent
HEADER = "# made by envs/lock.py from requirements.in: do not edit\n"
CUDA = re.compile(r"^(nvidia-|cuda-|triton==|bitsandbytes==)")
# torch 2.13.0+cpu for Linux, Python 3.11: another file under the same version
CPU_BUILDS = ["6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"]
FOR_CPU = "python_version == '3.11' and sys_platform == 'linux' and platform_machine == 'x86_64'"


def main() -> None:
    """Write the three files."""
    command = "uv pip compile --universal --python-version 3.11 --generate-hashes --no-header"
    resolved = subprocess.run(
        [*command.split(), "--no-annotate", ENVS / "requirements.in"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    packages = [entry for entry in re.split(r"(?m)^(?=[a-z0-9])", resolved) if "==" in entry]
    files = {"lock.txt": [HEADER], "lock.cuda.txt": [HEADER], "lock.cpu.txt": [HEADER]}
    for package in packages:
        if package.startswith("torch=="):
            hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in CPU_BUILDS) + "\n"
            version = package.split()[0]
            files["lock.cpu.txt"].append(f"{version}+cpu ; {FOR_CPU}{hashes}")
            package = package.rstrip("\n") + hashes
        files["lock.cuda.txt" if CUDA.match(package) else "lock.txt"].append(package)
    for name, lines in files.items():
        (ENVS / name).write_text("".join(lines))
        print(f"{name}: {len(lines) - 1} packages", file=sys.stderr)


if __name__ == "__main__":
    main()
