"""What warm.python() starts: a client whose server runs `-m lra.cli`, `-m snakemake` or `.../src`.

python -IS warm_client.py SOCKET ARGUMENT ...    anything else is the real Python's
"""

import json
import os
import signal
import socket
import sys


def ask(path: str, arguments: list[str]) -> int:
    """The exit status of the command."""
    umask = os.umask(0)
    os.umask(umask)
    asked = {"folder": os.getcwd(), "umask": umask, "environment": {**os.environ},  # noqa: PTH109
             "arguments": arguments}  # fmt: skip
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [b"\0"], [0, 1, 2])
        server.sendall(json.dumps(asked).encode() + b"\n")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, lambda number, _: server.send(bytes([number])))
        with server.makefile() as answer:
            status = int(answer.readline() or 1)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    _, socket_path, *words = sys.argv
    if words[:1] == ["-m"] and words[1] in ("lra.cli", "snakemake"):
        sys.exit(ask(socket_path, words[1:]))
    if words[:1] and words[0].endswith("/src"):  # a checkout's own code
        sys.exit(ask(socket_path, words))
    os.execv(sys.executable, [sys.executable, *words])
