"""Data sets as the readers make them of small archives, each split checked against dataset.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from lra.core.errors import LRAError
from lra.data.manifest import verify
from lra.data.prepare import prepare_dataset
from lra.data.recipe import Archive, Recipe
from lra.data.sources import READERS
from lra.data.split import SPLITS, Split, read_split

ONE_URL = Archive(file="x.tar.gz", urls=["http://localhost/x.tar.gz"])


def recipe(source: str, sizes: tuple[int, int, int], pinned: Archive = ONE_URL, **fields) -> Recipe:
    """sizes: of train, val and test. fields: of a recipe."""
    return Recipe(
        **{"source": source, "archive": pinned, **dict(zip(SPLITS, sizes, strict=True)), **fields}
    )


def prepare(archive: Path, out: Path, source: str, sizes: tuple, **fields) -> list[Split]:
    """The three splits."""
    prepare_dataset(READERS[source], recipe(source, sizes, **fields), archive, out)
    for split in SPLITS:
        verify(out / f"{split}.arrow")
    return [read_split(out / f"{split}.arrow") for split in SPLITS]


def refused(archive: Path, out: Path, source: str, sizes: tuple, **fields) -> str:
    """The one line; nothing is left."""
    with pytest.raises(LRAError) as raised:
        prepare(archive, out, source, sizes, **fields)
    assert "\n" not in str(raised.value)
    assert not [path for path in out.rglob("*") if path.is_file()]
    return str(raised.value)


def texts(split: Split, tower: int = 0) -> list[bytes]:
    """Documents as bytes: a token is a byte + 1."""
    values, offsets = split.towers[tower].values, split.towers[tower].offsets
    return [(values[a:b] - 1).tobytes() for a, b in zip(offsets, offsets[1:], strict=False)]
