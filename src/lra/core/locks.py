"""One process at a time, by locks that the kernel releases when their holder dies.

A file system without such locks (some Lustre and NFS) gets a file instead, which names its holder.
It is removed with its holder's end, or by the next process where the holder ran on the same host.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from lra.core.errors import LRAError
from lra.core.files import one_line

LOCKLESS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process makes `path` (a file or folder), then be the one that does.

    The lock is a hidden file beside it.
    """
    place = path.with_name(f".{path.name}.lock")
    with one_line(place):
        lock, taken = take(place)
        if not taken:
            say(f"{path}: another process is making it; waiting for its end{_remedy(lock)}")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def hold_folder(folder: Path) -> BaseFileLock:
    """Take a folder for the rest of this process; raises LRAError where another one has it.

    A killed process leaves Snakemake's own lock behind. Here only the lock on the file counts; the
    process number in the file beside it is for people.
    """
    place = folder / ".snakemake" / "run.lock"
    holder = place.with_suffix(".holder")
    with one_line(place):
        lock, taken = take(place)
        if not taken:
            who = holder.read_text(encoding="utf-8") if holder.exists() else "unknown"
            raise LRAError(
                f"{folder.resolve()}: snakemake is running here already ({who}); "
                f"wait for its end, or stop it{_remedy(lock)}"
            )
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    return lock


def take(place: Path) -> tuple[BaseFileLock, bool]:
    """A lock at `place`, and whether it was taken; it was not where another process holds it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    lock: BaseFileLock = FileLock(place, fallback_to_soft=False)
    try:
        return lock, _at_once(lock)
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
    lock = SoftFileLock(place.with_name(f"{place.name}.soft"))
    return lock, _at_once(lock)


def _at_once(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _remedy(lock: BaseFileLock) -> str:
    """Nobody can tell whether a process of another host still lives."""
    return f"; if none runs, remove {lock.lock_file}" if isinstance(lock, SoftFileLock) else ""
