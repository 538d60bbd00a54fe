"""Bytes: the text of enwik8, cut into windows of one length, without labels.

The parts are those of the papers on enwik8: the first 90 million bytes are trained on, the next
five validate, the last five test. A split has the first windows of its part, each right after the
one before it. Token = byte: nothing is padding.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import check_contents, contents
from lra.data.enwik8 import FILE
from lra.data.prepare import Portions, Reader, Sizes
from lra.data.recipe import Content
from lra.data.split import Info, grid_table

PARTS = {
    "train": slice(0, 90_000_000),
    "val": slice(90_000_000, 95_000_000),
    "test": slice(95_000_000, 100_000_000),
}
VALUES = 256
CHUNK = 10_000  # windows in a table


class Windows(Settings):
    """Of the first 10^8 bytes of the English Wikipedia of 3 March 2006."""

    max_length: int = Field(1024, gt=1)  # bytes of every window
    content: Content = None


def windows(archive: Path, options: Windows, sizes: Sizes, seed: int) -> Portions:
    """Nothing is drawn, so `seed` does nothing. A part that is too short gives fewer windows."""
    found = contents(archive, FILE)
    if not found:
        raise LRAError(f"{archive}: has no enwik8")
    check_contents(archive, found, options.content)
    text = np.frombuffer(found.pop("enwik8"), np.uint8)
    for split, part in PARTS.items():
        own, length = text[part], options.max_length
        grid = own[: len(own) // length * length].reshape(-1, length)[: sizes[split]]
        for start in range(0, len(grid), CHUNK):
            some = grid[start : start + CHUNK]
            yield split, grid_table(some, np.zeros(len(some), np.int64))


def info(options: Windows) -> Info:
    return Info(
        "bytes", VALUES, VALUES, options.max_length, pads=False, source="enwik8, Mahoney 2006"
    )


READERS = {"enwik8_windows": Reader(Windows, info, windows)}
