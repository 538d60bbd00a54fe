"""python -IS fork_client.py SOCKET SCRIPT ARGUMENT ...: run it in a process that the server forks.

Standard streams, folder, environment and umask are this process's. Signals are passed on, a stop
and the death of this process too, and the exit status comes back. It imports little, so that it
starts in 20 ms. Without a server it becomes `python SCRIPT ARGUMENT ...`.
"""

import json
import os
import signal
import socket
import sys


def ask(path: str, arguments: list[str]) -> int:
    """The exit status of the command. Raises OSError where nothing listens at the socket."""
    umask = os.umask(0)
    os.umask(umask)
    asked = {"folder": os.getcwd(), "umask": umask, "environment": {**os.environ},  # noqa: PTH109
             "arguments": arguments}  # fmt: skip
    text = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        socket.send_fds(server, [len(text).to_bytes(4)], [0, 1, 2])
        server.sendall(text)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCONT):
            signal.signal(number, lambda number, _: server.send(bytes([number])))

        def stop(*_: object) -> None:
            server.send(bytes([signal.SIGSTOP]))
            os.kill(os.getpid(), signal.SIGSTOP)

        signal.signal(signal.SIGTSTP, stop)
        with server.makefile() as answer:
            status = int(answer.readline() or 1)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    _, socket_path, *words = sys.argv
    try:
        sys.exit(ask(socket_path, words))
    except (ConnectionRefusedError, FileNotFoundError):
        os.execv(sys.executable, [sys.executable, *words])
