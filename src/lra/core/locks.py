"""One process at a time, by locks that the kernel releases when their holder dies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lra.core.errors import LRAError
from lra.core.files import one_line


@contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process makes `path` (a file or folder), then be the one that does.

    The lock is a hidden file beside it.
    """
    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(place)
    with one_line(place):
        if not _taken(lock, place):
            say(f"{path}: another process is making it; waiting for its end")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def hold_folder(folder: Path) -> FileLock:
    """Take a folder for the rest of this process; raises LRAError where another one has it.

    A killed process leaves Snakemake's own lock behind. Here only the kernel's lock on the file
    counts; the process number in it is for people.
    """
    place = folder / ".snakemake" / "run.lock"
    lock = FileLock(place)
    with one_line(place):
        if not _taken(lock, place):
            holder = place.read_text(encoding="utf-8")
            raise LRAError(
                f"{folder.resolve()}: snakemake is running here already ({holder}); "
                "wait for its end, or stop it"
            )
        place.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    return lock


def _taken(lock: FileLock, place: Path) -> bool:
    """Take the lock at `place` at once; False where another process holds it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
