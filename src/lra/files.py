"""Whole files or none: written beside, then renamed."""

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
