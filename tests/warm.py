"""A workflow's processes without their imports: forked from ones that have imported already.

Most of a tiny study's time is that a hundred processes import the same. `launcher` starts, once a
test process, a server for each kind of process (Snakemake's own, jobs that may run a model, other
jobs), which imports what that kind imports from the environment, and nothing of this project. What
is launched through it is forked from there. It is a process like any other, with its own
arguments, environment, folder and exit status; but a fork has the imports' state, so what tests
these starts whole processes (`study.snakemake(warm=False)`).
"""

import array
import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

IMPORTS = {
    "snakemake": [
        *("snakemake.cli", "snakemake.script", "pulp", "jsonschema", "yaml", "smart_open"),
        *("nbformat", "snakemake.report.html_reporter", "snakemake_executor_plugin_slurm"),
    ],
    "model": [
        *("snakemake.script", "torch", "transformers", "nnsight", "pandas", "pyarrow.parquet"),
        *("safetensors.torch", "transformers.models.llama.modeling_llama"),
        *("transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"),
        *("sklearn.linear_model", "openai"),
    ],
    "other": [
        *("snakemake.script", "pandas", "pyarrow.parquet", "matplotlib.backends.backend_agg"),
        *("matplotlib.backends.backend_pdf", "matplotlib.pyplot", "seaborn", "yaml"),
    ],
}
# scripts whose jobs have no torch in their environment
OTHERS = {
    *("figure", "table", "latex_tables", "manuscript", "paper_numbers", "report", "report_pages"),
    *("archive", "crate", "provenance", "verdict", "best_block", "prompts_csv"),
}
# what libraries read of the environment when they are imported
READ = ("TORCH", "CUDA_", "MPL", "PYTHON", "OPENBLAS", "OMP_", "MKL_")
# scripts that may ask a hub, which they find by more of it: processes of their own
ASKING = {"model", "data"}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}


@cache
def launcher() -> str:
    """The path of what takes Python's place: a server that is not there yet costs its imports."""
    folder = tempfile.TemporaryDirectory(prefix="warm")
    atexit.register(folder.cleanup)
    shim = Path(folder.name) / "python"
    shim.write_text(f"#!{sys.executable} -IS\n{Path(__file__).read_text()}")
    shim.chmod(0o755)
    notes = {"python": sys.executable, "read": read_at_import()}
    (Path(folder.name) / "notes.json").write_text(json.dumps(notes))
    for kind in IMPORTS:
        server = subprocess.Popen(
            [sys.executable, __file__, kind, folder.name],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.DEVNULL,
        )
        atexit.register(server.kill)
    return str(shim)


def read_at_import() -> dict[str, str]:
    """What of the environment libraries may have read."""
    ignored = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", *ONE_THREAD}
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(READ) and name not in ignored
    }


def kind_of(arguments: list[str]) -> str | None:
    """Which server a command line is for; None where it is for none."""
    if arguments[:2] == ["-m", "snakemake"]:
        return "snakemake"
    if len(arguments) != 1 or not arguments[0].endswith(".py"):
        return None
    script = script_of(arguments[0])
    return None if script in ASKING else "other" if script in OTHERS else "model"


def script_of(path: str) -> str:
    """A script's name; Snakemake's copy is called tmp….<script>.py."""
    return Path(path).stem.split(".")[-1]


# what takes Python's place


def client(folder: Path) -> None:
    """Have the command line run by a server, or by Python itself where none can."""
    notes = json.loads((folder / "notes.json").read_text())
    kind = kind_of(sys.argv[1:])
    if kind is None or read_at_import() != notes["read"]:
        os.execv(notes["python"], [notes["python"], *sys.argv[1:]])
    server = socket.socket(socket.AF_UNIX)
    while True:
        try:
            server.connect(str(folder / kind))
            break
        except OSError:
            # it imports as yet; if it cannot, that was said
            if (folder / f"{kind}.failed").exists() or not folder.exists():
                sys.exit(f"no server for {kind}")
            time.sleep(0.1)
    said = {
        "python": notes["python"] if kind != "snakemake" else sys.argv[0],
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "environment": dict(os.environ),
    }
    message = json.dumps(said).encode()
    server.sendmsg(
        [len(message).to_bytes(8, "little")],
        [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))],
    )
    server.sendall(message)
    answer = server.recv(8)
    status = int.from_bytes(answer, "little", signed=True) if answer else 1
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


# the servers


def serve(kind: str, folder: Path) -> None:
    """Import, then fork for whoever connects; returns in the process that is to run."""
    parent = os.getppid()
    for name in IMPORTS[kind]:
        __import__(name)
    # a fork takes down nothing that it has not made: with torch that is a tenth of a second
    for made in [*weakref.finalize._registry]:
        made.atexit = False
    if dynamo := sys.modules.get("torch._dynamo.utils"):
        atexit.unregister(dynamo.dump_compile_times)
    # or each fork's first search for unused objects would copy their pages
    gc.freeze()
    # a fork has no thread but the one that forks; pyarrow's allocator starts its own anew
    names = [Path(task, "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert [name for name in names if not name.startswith("jemalloc")][1:] == [], names
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / f"{kind}.new"))
    listening.listen(64)
    (folder / f"{kind}.new").rename(folder / kind)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while os.getppid() == parent:
        if not select.select([listening], [], [], 1)[0]:
            continue
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            attend(connection)
            return
        connection.close()
    sys.exit()


def attend(connection: socket.socket) -> None:
    """Fork what is to run and tell how it ended; what is no longer waited for is ended."""
    head, control, _, _ = connection.recvmsg(8, socket.CMSG_LEN(12))
    files = array.array("i")
    files.frombytes(control[0][2][:12])
    length, message = int.from_bytes(head, "little"), b""
    while len(message) < length:
        message += connection.recv(length - len(message))
    child = os.fork()
    if child == 0:
        connection.close()
        take_on(json.loads(message), list(files))
        return
    handle = os.pidfd_open(child)
    ready, _, _ = select.select([connection, handle], [], [])
    if handle not in ready:
        os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with suppress(OSError):  # who asked may be gone
        connection.sendall(code.to_bytes(8, "little", signed=True))
    os._exit(0)


def take_on(said: dict, files: list[int]) -> None:
    """Become the process that was asked for."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(said["folder"])
    os.environ.clear()
    os.environ.update(said["environment"])
    sys.executable, sys.argv = said["python"], said["arguments"]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    first = "" if sys.argv[0] == "-m" else str(Path(sys.argv[0]).resolve().parent)
    more = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    sys.path[:1] = [first, *more]


def run_to_its_end() -> NoReturn:
    """Run what the command line names, then end without taking down what was imported."""
    status: object = 0
    try:
        if sys.argv[0] == "-m":
            sys.argv = sys.argv[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    if Path(sys.argv[0]).name == "python":
        client(Path(sys.argv[0]).parent)
    try:
        serve(sys.argv[1], Path(sys.argv[2]))
    except BaseException:
        Path(sys.argv[2], f"{sys.argv[1]}.failed").touch()
        raise
    run_to_its_end()
