"""Where a script's modules come from: its process tells at its end, in the tests' environments.

One file a process in the folder MODULES_OF_JOBS: the rule, sys.prefix, and each module's file.
"""

import atexit
import json
import os
import sys
from pathlib import Path


def write_modules() -> None:
    """Write the process's file."""
    modules = [(name, getattr(module, "__file__", None)) for name, module in [*sys.modules.items()]]
    note = {
        # what Snakemake puts into a script's globals
        "rule": getattr(getattr(sys.modules["__main__"], "snakemake", None), "rule", None),
        "prefix": sys.prefix,
        "modules": {name: file for name, file in modules if isinstance(file, str)},
    }
    Path(os.environ["MODULES_OF_JOBS"], f"{os.getpid()}.json").write_text(json.dumps(note))


if "MODULES_OF_JOBS" in os.environ:
    atexit.register(write_modules)
