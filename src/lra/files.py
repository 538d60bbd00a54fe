"""Whole files or none: written beside, then renamed; bad ones are set aside."""

from __future__ import annotations

import os
from pathlib import Path

from lra.errors import LRAError


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
