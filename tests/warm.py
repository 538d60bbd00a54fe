"""A Python that starts with the large packages imported, for tests that start many processes.

To import torch, pandas and matplotlib takes 3 to 7 CPU-seconds, longer than most jobs of a tiny
experiment. A server imports them once and forks a process for each `-m lra.cli` or `-m snakemake`.
It imports nothing of ours: each process takes `lra` from its own PYTHONPATH. Signals reach it, that
of a kill too. But what Python reads from the environment at its start (locale, hash seed, threads)
is the server's, and so is the process, with its limits. A test of these starts `sys.executable`.
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
import tempfile
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

CLIENT = Path(__file__).with_name("warm_client.py")
IMPORTED = (
    "docutils.core", "einops", "filelock", "great_tables", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg", "numba", "pandas",
    "psutil", "pyarrow.parquet", "pydantic", "safetensors.torch",
    "scikit_posthocs", "scipy.stats", "seaborn", "sklearn.feature_extraction.text",
    "sklearn.linear_model", "snakemake.cli", "torch._dynamo",
    "torch.utils.flop_counter", "typer",
)  # fmt: skip


@functools.cache
def python() -> str:
    """The path of this Python. The server is started at the first call and ends with the caller."""
    temporary = tempfile.TemporaryDirectory(prefix="lra-warm-")  # a socket's path must be short
    atexit.register(temporary.cleanup)
    folder = Path(temporary.name)
    start = shlex.join([sys.executable, "-IS", str(CLIENT), f"{folder}/socket"])
    for name, arguments in {"python": "", "snakemake": "-m snakemake"}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {start} {arguments} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, f"{folder}/socket", f"{folder}/python"], env=environment,
        start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.wait)
    atexit.register(server.terminate)
    assert server.stdout.readline() == "ready\n"
    return f"{folder}/python"


def serve(path: str) -> None:
    """Fork a process for each client, until stdin ends: with the process that started this one."""
    for name in IMPORTED:
        importlib.import_module(name)
    sys.modules.pop("pynvml", None)  # torch imports it; a process may have a stand-in of it
    gc.collect()
    gc.freeze()  # else the collections of each process would copy all that is imported
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
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


def fork() -> int:
    with warnings.catch_warnings(action="ignore"):  # a package's allocator has a thread of its own
        return os.fork()


def attend(client: socket.socket) -> None:
    """Run a client's command in another process, pass signals on, and answer the status."""
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile(encoding="utf-8") as text:
        asked = json.loads(text.readline())
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
    """Do what `python -m MODULE ARGUMENT ...` does, and end."""
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
    sys.path[:0] = [asked["folder"], *map(os.path.abspath, ours)]
    sys.argv = asked["arguments"]
    status = 1
    try:
        if "/" in sys.argv[0]:
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
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
    sys.executable = sys.argv[2]
    serve(sys.argv[1])
