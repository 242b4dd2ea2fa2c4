"""Install torch's CPU build, where pip finds one: `python envs/torch_cpu.py auto|cpu COMMAND`.

Called by the Makefile before all else is installed. The registry's torch for Linux is a CUDA build
of several gigabytes with its libraries; on a machine without an NVIDIA GPU the CPU build computes
the same. With `auto` its absence is a line that says why, with `cpu` an error.
"""

import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

ELSEWHERE = "docs/environments.md says how pip learns where torch's CPU builds are"


def main(asked: str, command: Sequence[str]) -> str:
    """Run pip's command; what is to be said, or nothing.

    Args:
        asked: `cpu`, which must succeed, or `auto`, after which the registry's build is taken.

    Raises:
        SystemExit: the build was asked for and is not to be had.
    """
    found = subprocess.run(command, capture_output=True, text=True)
    if sys.platform != "linux":
        return ""  # the registry's build has no CUDA libraries
    if not found.returncode:
        try:
            version("torch")
            return ""
        except PackageNotFoundError:
            python = ".".join(platform.python_version_tuple()[:2])
            why = f"none is locked for Python {python} on {platform.machine()}"
    else:
        errors = [line for line in found.stderr.splitlines() if line.startswith("ERROR: ")]
        why = (errors or ["ERROR: pip failed"])[-1].removeprefix("ERROR: ")
    if asked == "cpu":
        raise SystemExit(f"torch's CPU build cannot be installed: {why}. {ELSEWHERE}.")
    return f"torch: the registry's build, with CUDA's libraries; no CPU build: {why}. {ELSEWHERE}."


if __name__ == "__main__":
    if said := main(sys.argv[1], sys.argv[2:]):
        print(said)
