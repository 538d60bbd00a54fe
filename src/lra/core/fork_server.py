"""A Python that has the large packages imported and forks a process for each job of a run.

To import torch takes 1.7 CPU-seconds, pandas and matplotlib one more: longer than most jobs of a
small experiment. The server imports packages alone, nothing of ours: each job takes `lra` from
disk, as it is then. But what Python and the packages read from the environment at their start
(threads, locale, hash seed) is the server's, and each process has all packages in its memory: a
job of several threads, or one that measures its own memory, starts a Python of its own.

    python -P fork_server.py FOLDER PYTHON MODULE ...    what `start` runs; see fork_client.py
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

CLIENT = Path(__file__).with_name("fork_client.py")
PACKAGES = (
    "einops", "filelock", "great_tables", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg", "pandas",
    "pyarrow.parquet", "pydantic", "safetensors.torch", "scikit_posthocs", "scipy.stats", "seaborn",
    "torch.utils.flop_counter", "typer",
)  # fmt: skip
VARIABLE = "LRA_FORK_SERVER"  # the socket, in the environment of jobs
LONGEST = 70  # characters of TMPDIR; a socket's path has at most 107
LIBRARIES = ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")  # that read a number of threads


def share(environment: Mapping[str, str]) -> None:
    """Start a server for the jobs that this process starts, unless it has one from its own parent.

    environment: of a job, without its number of threads.
    """
    if VARIABLE not in os.environ:
        one_thread = {f"{name}_NUM_THREADS": "1" for name in LIBRARIES}
        socket_path = start(PACKAGES, {**environment, **one_thread})
        if socket_path:
            os.environ[VARIABLE] = str(socket_path)


def start(
    modules: Iterable[str], environment: Mapping[str, str], python: str = sys.executable
) -> Path | None:
    """Start a server, which ends with this process, and wait for it: its socket, or None.

    python: sys.executable in the processes that it forks. None: packages that cannot be imported,
    a system without process descriptors, or a TMPDIR too long for a socket's path.
    """
    if not hasattr(os, "pidfd_open") or len(tempfile.gettempdir()) > LONGEST:
        return None
    folder = tempfile.mkdtemp(prefix="lra-fork-")  # nobody else gets into it
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, folder, python, *modules], env=dict(environment),
        start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return Path(folder, "socket") if server.stdout.readline() == "ready\n" else None


def serve(folder: Path, modules: list[str]) -> None:
    """Fork a process for each client, until stdin ends: with the process that started this one."""
    try:
        for name in modules:
            importlib.import_module(name)
        sys.modules.pop("pynvml", None)  # torch imports it; a process may have a stand-in of it
        gc.collect()
        gc.freeze()  # else the collections of each process would copy all that is imported
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / "socket"))
            server.listen()
            print("ready", flush=True)
            while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
                client, _ = server.accept()
                if fork() == 0:
                    server.close()
                    attend(client)
                client.close()
                with suppress(ChildProcessError):
                    while os.waitpid(-1, os.WNOHANG)[0]:
                        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fork() -> int:
    with warnings.catch_warnings(action="ignore"):  # a package's allocator has a thread of its own
        return os.fork()


def attend(client: socket.socket) -> None:
    """Run a client's command in another process, pass signals on, and answer the status."""
    length, streams, _, _ = socket.recv_fds(client, 4, 3)
    # not a byte more: what follows are signals
    asked = json.loads(client.recv(int.from_bytes(length), socket.MSG_WAITALL))
    process = fork()
    if process == 0:
        client.close()
        become(asked, streams)
    ended = os.pidfd_open(process)
    while client in select.select([client, ended], [], [])[0]:
        signals = client.recv(8)  # a byte each; none where the client was killed
        for number in signals or [signal.SIGKILL]:
            os.kill(process, number)
        if not signals:
            break
    _, status = os.waitpid(process, 0)
    with suppress(OSError):
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(asked: dict, streams: list[int]) -> None:
    """Do what `python FOLDER ARGUMENT ...` or `python -m MODULE ARGUMENT ...` does, and end."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # the server's own may have been files, which can seek, where these are pipes
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    ours = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:0] = map(os.path.abspath, ours)
    sys.argv = asked["arguments"]
    status = 1
    try:
        if "/" in sys.argv[0]:
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            sys.path.insert(0, asked["folder"])
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        else:
            status = error.code or 0
    except:  # noqa: E722 as Python itself
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # to take the packages down would take longer than most commands


if __name__ == "__main__":
    _, own_folder, sys.executable, *names = sys.argv
    serve(Path(own_folder), names)
