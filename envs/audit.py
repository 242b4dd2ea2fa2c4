"""Look through the lock for known faults: `make audit` (`python envs/audit.py`).

With pip-audit (not in the lock: `pipx install pip-audit` gives it an environment of its own) and a
network, its database is asked about every locked package. Else the lock's age is what can be said:
how many days ago it last changed.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("lock.txt")
GET = "pip-audit is not installed; `pipx install pip-audit` gets it"


def days_between(changed: datetime, now: datetime) -> int:
    """Whole days that have passed; none where a clock was set back."""
    return max(0, (now - changed).days)


def changed_at(lock: Path) -> datetime:
    """When a lock last changed: its last commit, or its file's time where git does not say."""
    file_time = datetime.fromtimestamp(lock.stat().st_mtime, UTC)
    changed = _git(lock, "status", "--porcelain", "--", lock.name)
    dated = _git(lock, "log", "-1", "--format=%cI", "--", lock.name)
    return datetime.fromisoformat(dated) if dated and not changed else file_time


def locked(lock: Path) -> list[str]:
    """The packages of a lock, as name==version."""
    return re.findall(
        r"^[A-Za-z0-9._-]+==[^\s;\\]+", lock.read_text(encoding="utf-8"), re.MULTILINE
    )


def age(lock: Path, now: datetime) -> str:
    """What is said of a lock where no database can be asked."""
    changed = changed_at(lock)
    return (
        f"{lock.name}: {len(locked(lock))} packages, last changed {changed:%Y-%m-%d}, "
        f"{days_between(changed, now)} days ago"
    )


def audited(command: list[str], lock: Path) -> list[dict[str, Any]] | None:
    """pip-audit's list of packages with their faults; None where its database cannot be had."""
    options = ["--requirement", str(lock), "--no-deps", "--disable-pip", "--format", "json"]
    found = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(found.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        # a network that is not there ends in words, on the other stream
        return None
    return packages


def faults(packages: list[dict[str, Any]]) -> list[str]:
    """One line a known fault, with the versions that mend it."""
    return [
        f"{package['name']} {package.get('version', '')}: {fault['id']}, mended in "
        f"{', '.join(fault.get('fix_versions', [])) or 'no version yet'}"
        for package in packages
        for fault in package.get("vulns", [])
    ]


def main() -> None:
    """Print the faults, or the lock's age; exit status 1 for a fault alone."""
    print(age(LOCK, datetime.now(UTC)))
    command = _pip_audit()
    if command is None:
        print(GET)
        return
    packages = audited(command, LOCK)
    if packages is None:
        print("pip-audit's database cannot be had; the age is all that can be said")
        return
    found = faults(packages)
    print("\n".join(found) or f"no known fault in {len(packages)} packages")
    sys.exit(bool(found))


def _pip_audit() -> list[str] | None:
    if importlib.util.find_spec("pip_audit"):
        return [sys.executable, "-m", "pip_audit"]
    program = shutil.which("pip-audit")
    return [program] if program else None


def _git(lock: Path, *arguments: str) -> str:
    """What git says about a file, "" where it says nothing."""
    command = ["git", "--no-optional-locks", "-C", str(lock.parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main()
