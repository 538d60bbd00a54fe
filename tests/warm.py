"""A Python that starts with the large packages imported, for tests that start many processes.

It is the fork server of the workflow, and each `-m lra.cli`, `-m snakemake` or `.../src` a process
of it. They take `lra` from their own PYTHONPATH. Signals reach them, that of a kill too. But what
Python reads from the environment at its start is the server's. A test of these starts
`sys.executable`.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import tempfile
from pathlib import Path

from lra.core import fork_server

IMPORTED = (
    *fork_server.PACKAGES, "docutils.core", "numba", "psutil", "sklearn.feature_extraction.text",
    "sklearn.linear_model", "snakemake.cli", "torch._dynamo",
)  # fmt: skip
WRAPPER = """#!/bin/sh
export {variable}={socket}
case "$1 $2" in
  "-m lra.cli" | "-m snakemake") shift; exec {client} {socket} "$@" ;;
  */src\\ *) exec {client} {socket} "$@" ;; # a checkout's own code
esac
exec {python} "$@"
"""


@functools.cache
def python() -> str:
    """The path of this Python. The server is started at the first call and ends with the caller."""
    temporary = tempfile.TemporaryDirectory(prefix="lra-warm-")
    atexit.register(temporary.cleanup)
    path = Path(temporary.name, "python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    socket = fork_server.start(IMPORTED, environment, str(path))
    assert socket
    client = f"{sys.executable} -IS {fork_server.CLIENT}"
    known = {"variable": fork_server.VARIABLE, "socket": socket, "client": client}
    path.write_text(WRAPPER.format(**known, python=sys.executable), encoding="utf-8")
    snakemake = f'#!/bin/sh\nexec {path} -m snakemake "$@"\n'
    path.with_name("snakemake").write_text(snakemake, encoding="utf-8")
    for file in path.parent.iterdir():
        file.chmod(0o755)
    return str(path)
