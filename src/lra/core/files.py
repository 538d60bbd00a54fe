"""Whole files or none: written beside their name, then renamed. Damaged files are set aside."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from lra.core.errors import LRAError

OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS} | {
    errno.ENOTDIR,  # the output folder, or a part of its path, is a file
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EIO,
    errno.ESTALE,  # of NFS
    errno.EFBIG,  # limits: of a file's size, open files, processes, memory
    errno.EMFILE,
    errno.ENFILE,
    errno.EAGAIN,
    errno.ENOMEM,
}


SKEW = 10.0  # seconds by which clocks of a cluster may differ


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_of(path: Path, where: str | None = None) -> str:
    """The text of a file that people edit; raises LRAError where it is missing or not UTF-8.

    where: how messages name the file.
    """
    where = where or str(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise LRAError(f"{where}: {error.strerror.lower()}") from None
    except UnicodeDecodeError as error:
        raise LRAError(f"{where}: not UTF-8 text (byte {error.start})") from None


def write_beside(path: Path, content: bytes) -> None:
    """Write `content` to a file beside `path`, then rename it over `path`.

    Raises LRAError naming the path where the disk is full or the folder cannot be written; what was
    there before stays.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if partial.exists():
            partial.unlink()
        raise LRAError(f"{path}: cannot be written: {error.strerror}") from None


def not_from_the_future(paths: Iterable[Path]) -> None:
    """Raise LRAError naming the first of the files that says it will be modified.

    A job that reads it would end with results that are older than what they are made of; Snakemake
    deletes them, after hours. Files that are missing are left to others.
    """
    now = time.time()
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            if (modified := path.stat().st_mtime) > now + SKEW:
                when = f"{datetime.fromtimestamp(modified):%Y-%m-%d %H:%M}"
                raise LRAError(
                    f"{path}: its modification time, {when}, is in the future; "
                    f"set the clock, or: touch {shlex.quote(str(path))}"
                )


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Raise LRAError naming `path` where the disk is full or forbidden, or a limit is reached."""
    try:
        yield
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            raise
        raise LRAError(f"{path}: {os.strerror(error.errno).lower()}") from None


@contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Make SIGTERM (a cancelled job) raise SystemExit, so that unfinished files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def leave(signum: int, _frame: object) -> None:
        sys.exit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def set_aside(path: Path, whose: Path | None = None) -> Path:
    """Rename a bad file to `<path>.bad`, or to that of the file whose part it is; return the name.

    Raises LRAError where the folder cannot be written.
    """
    whose = whose or path
    bad = whose.with_name(whose.name + ".bad")
    try:
        return path.replace(bad)
    except OSError as error:
        raise LRAError(f"{path}: is bad and cannot be renamed: {error.strerror}") from None
