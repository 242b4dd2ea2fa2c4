"""Where a script's modules come from: its process writes it at its end, in the tests' environments.

One file a process in the folder MODULES_OF_JOBS: the script, sys.prefix, and each module's file.
"""

import atexit
import json
import os
import sys
from pathlib import Path


def write_modules() -> None:
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None:
        return
    files = {
        name: module.__file__
        for name, module in sys.modules.items()
        if getattr(module, "__file__", None)
    }
    note = {"script": Path(script).stem, "prefix": sys.prefix, "modules": files}
    Path(os.environ["MODULES_OF_JOBS"], f"{os.getpid()}.json").write_text(json.dumps(note))


if "MODULES_OF_JOBS" in os.environ:
    atexit.register(write_modules)
