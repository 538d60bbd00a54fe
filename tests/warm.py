"""A Python that starts with the large packages imported, for tests that start many processes.

To import torch, pandas and matplotlib takes 3 to 7 CPU-seconds, longer than most jobs of a tiny
experiment. A server imports them once and forks a process for each `-m lra.cli` and `-m snakemake`.
It imports nothing of ours: each process takes `lra` from its own PYTHONPATH. What Python reads of
the environment as it starts (locale, hash seed, threads) is the server's, and a signal reaches
the process only as an end. Tests of such things start `sys.executable`.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from contextlib import suppress

STARTED = ("lra.cli", "snakemake")
IMPORTED = (
    "docutils.core", "einops", "filelock", "great_tables", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg", "numba", "pandas",
    "pooch", "psutil", "pyarrow.parquet", "pydantic", "rocrate", "scikit_posthocs", "scipy.stats",
    "safetensors.torch", "seaborn", "snakemake.cli", "torch._dynamo", "torch.utils.flop_counter",
    "typer._adapters",
)  # fmt: skip


@functools.cache
def python() -> str:
    """The path of a `python` that the server of this process serves."""
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="lra-warm-")  # a socket's path must be short
    atexit.register(folder.cleanup)
    path = f"{folder.name}/socket"
    programs = {"python": '"$@"', "snakemake": '-m snakemake "$@"', "lra": '-m lra.cli "$@"'}
    start = shlex.join([sys.executable, "-IS", __file__, path])
    for name, arguments in programs.items():
        program = f"{folder.name}/{name}"
        with open(program, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexec {start} {arguments}\n")
        os.chmod(program, 0o755)
    environment = {**os.environ, "LRA_WARM_PYTHON": f"{folder.name}/python"}
    environment.pop("PYTHONPATH", None)
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, path, "serve"], env=environment, start_new_session=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.wait)
    atexit.register(server.terminate)
    assert server.stdout.readline() == "ready\n"
    return f"{folder.name}/python"


def serve(path: str) -> None:
    """Accept commands until terminated. Returns in each forked process once that is to end."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # else a collection would copy all of it in each process
    sys.executable = os.environ.pop("LRA_WARM_PYTHON")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            client, _ = server.accept()
            if fork() == 0:
                server.close()
                return attend(client)
            client.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def fork() -> int:
    with warnings.catch_warnings(action="ignore"):  # a package's allocator has a thread of its own
        return os.fork()


def attend(client: socket.socket) -> None:
    """Run one client's command in a process; end that if the client ends."""
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile(encoding="utf-8") as text:
        asked = json.loads(text.readline())
    process = fork()
    if process == 0:
        client.close()
        return become(asked, files)
    watched = os.pidfd_open(process)
    ready, _, _ = select.select([client, watched], [], [])
    if client in ready:
        os.kill(process, signal.SIGTERM)
    _, status = os.waitpid(process, 0)
    with suppress(OSError):
        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(asked: dict, files: list[int]) -> None:
    """What `python -m MODULE ARGUMENT ...` does."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    ours = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:0] = [asked["folder"], *map(os.path.abspath, ours)]
    module, *arguments = asked["arguments"]
    sys.argv = [module, *arguments]
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)  # to take all packages down takes longer than most commands


def ask(path: str, arguments: list[str]) -> int:
    """The client: the status of the command."""
    if arguments[:1] != ["-m"] or arguments[1] not in STARTED:
        os.execv(sys.executable, [sys.executable, *arguments])
    umask = os.umask(0)
    os.umask(umask)
    asked = {"folder": os.getcwd(), "umask": umask, "environment": {**os.environ},
             "arguments": arguments[1:]}  # fmt: skip
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [b"\0"], [0, 1, 2])
        server.sendall(json.dumps(asked).encode() + b"\n")
        with server.makefile(encoding="utf-8") as text:
            status = int(text.readline() or 1)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.argv[2:] == ["serve"]:
        serve(sys.argv[1])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
