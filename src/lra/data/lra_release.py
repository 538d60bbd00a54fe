"""ListOps and Pathfinder of lra_release, the archive that Tay et al. 2020 published.

They are read to be compared with the generated data: `lra distributions`. The archive is read as a
stream; for Pathfinder twice, as labels and images lie in different files.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import lines, members, tsv_rows, wrong
from lra.data.byte_tokens import flat
from lra.data.listops_tokens import CLOSE, MAX, MED, MIN, SM, VOCAB, ZERO
from lra.data.prepare import LeftOut, Portions, Reader, Sizes, chunks
from lra.data.split import Info, grid_table, table_of

CHUNK = 2000  # examples per table
TSV = {f"basic_{split}.tsv": split for split in ("train", "val", "test")}
COLUMNS = ("Source", "Target")
VARIANTS = {"easy": "curv_baseline", "intermediate": "curv_contour_length_9",
            "hard": "curv_contour_length_14"}  # fmt: skip


class Release(Settings):
    """size: side of Pathfinder's images in pixels; None reads ListOps."""

    size: Literal[32, 64, 128, 256] | None = None
    difficulty: Literal["easy", "intermediate", "hard"] = "hard"
    max_length: int = Field(2000, gt=0)  # tokens of ListOps; longer expressions lose their tail


def lra_release(archive: Path, options: Release, sizes: Sizes, seed: int) -> Portions:
    if options.size is None:
        return _listops(archive, options)
    return _pathfinder(archive, options, sizes, seed)


def _listops(archive: Path, options: Release) -> Portions:
    rows = tsv_rows(archive, TSV, COLUMNS, header=True)
    for name, own in groupby(rows, key=lambda row: row[0]):
        for some in chunks((_expression(where, row) for _, where, row in own), CHUNK):
            where, sources, targets = zip(*some, strict=True)
            values, offsets = listops_tokens(pa.array(sources, pa.binary()), where)
            values, offsets = shortened(values, offsets, options.max_length)
            yield TSV[name], table_of(values, offsets, np.array(targets))


def _expression(where: str, row: list[bytes]) -> tuple[str, bytes, int]:
    source, target = row
    with wrong(where):
        return where, source, int(target)


def listops_tokens(sources: pa.Array, where: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Expressions "( ( [MAX 4 ) ] )" -> token ids (total,) and offsets (n + 1,).

    Parentheses are dropped and `]` is X, as in the official code. One byte tells every token apart,
    or the two bytes after "[" for operators, so there is no loop over tokens. `where` says of each
    expression where it stands.
    """
    text, starts = flat(sources)
    ids = np.zeros(len(text), np.uint8)
    digit = (text >= ord("0")) & (text <= ord("9"))
    ids[digit] = text[digit] - ord("0") + ZERO
    ids[text == ord("]")] = CLOSE
    after = np.concatenate([text, np.zeros(2, np.uint8)])
    opening = np.flatnonzero(text == ord("["))
    kinds = {b"MI": MIN, b"MA": MAX, b"ME": MED, b"SM": SM}
    for letters, token in kinds.items():
        here = (after[opening + 1] == letters[0]) & (after[opening + 2] == letters[1])
        ids[opening[here]] = token
    known = np.isin(text, np.frombuffer(b"0123456789[]() MINAXEDS", np.uint8))
    known[opening] &= ids[opening] > 0
    if not known.all():
        example = np.searchsorted(starts, known.argmin(), side="right") - 1
        raise LRAError(f"{where[example]}: is not ListOps, a token is unknown")
    used = ids > 0
    counts = np.concatenate([[0], used.cumsum()])
    return ids[used], counts[starts]


def shortened(
    values: np.ndarray, offsets: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `length` tokens of each example: values and offsets."""
    lengths = np.diff(offsets)
    if lengths.max(initial=0) <= length:
        return values, offsets
    place = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    return values[place < length], np.concatenate([[0], np.minimum(lengths, length).cumsum()])


def _pathfinder(archive: Path, options: Release, sizes: Sizes, seed: int) -> Portions:
    """Images go to splits by lot, as the order of the official 80/10/10 split is unknown.

    Some variants are in the archive twice. The folder with more labelled images is read, or the
    first by name where they have the same number. An empty image file is left out of the test
    split: imgs/0/sample_172.png of pathfinder32's curv_contour_length_14 is known to be empty.
    """
    variant = VARIANTS[options.difficulty]
    labels, empty = _labels(archive, f"pathfinder{options.size}", variant)
    for name in empty:
        yield "test", LeftOut(name, "an empty file")
    names = sorted(labels)
    drawn = np.random.default_rng(seed).permutation(len(names))
    split_of = {}
    ends = np.cumsum([sizes["train"], sizes["val"]])
    for split, places in zip(("train", "val", "test"), np.split(drawn, ends), strict=True):
        split_of |= {names[place]: split for place in places}
    waiting: dict[str, list[tuple[np.ndarray, int]]] = defaultdict(list)
    for name, file in members(archive, labels.__contains__):
        split = split_of[name]
        pixels = _pixels(file.read(), options.size, f"{archive}: {name}")
        waiting[split].append((pixels, labels[name]))
        if len(waiting[split]) == CHUNK:
            yield split, _table(waiting.pop(split))
    for split, rest in waiting.items():
        yield split, _table(rest)


def _labels(archive: Path, size: str, variant: str) -> tuple[dict[str, int], list[str]]:
    """Name in the archive -> label, of each image that is not empty; and names of those that are.

    The metadata files are named .npy, but are plain text.
    """
    trees: dict[str, dict[str, int]] = defaultdict(dict)
    empty = set()
    for name, file in members(archive, lambda name: f"{size}/{variant}/" in name):
        if "/imgs/" in name and not file.read(1):
            empty.add(name)
        if "/metadata/" not in name:
            continue
        tree = PurePosixPath(name).parent.parent
        for number, line in lines(file.read()):
            columns = line.decode("ascii", "replace").split()
            if len(columns) < 4 or columns[3] not in ("0", "1"):
                raise LRAError(f"{archive}: {name}: line {number} names no image and label")
            trees[str(tree)][str(tree / columns[0] / columns[1])] = int(columns[3])
    if not trees:
        raise LRAError(f"{archive}: has no {size}/{variant}/metadata")
    labels = max(sorted(trees.items()), key=lambda item: len(item[1]))[1]
    return ({name: label for name, label in labels.items() if name not in empty},
            sorted(empty & labels.keys()))  # fmt: skip


def _pixels(content: bytes, size: int, where: str) -> np.ndarray:
    with wrong(f"{where}: not a PNG"):
        image = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    if image.shape != (size, size):
        raise LRAError(f"{where}: {image.shape[1]} x {image.shape[0]} pixels, not {size} x {size}")
    return image.ravel()


def _table(rows: list[tuple[np.ndarray, int]]) -> pa.Table:
    pixels, labels = zip(*rows, strict=True)
    return grid_table(np.stack(pixels), np.array(labels))


def info(options: Release) -> Info:
    source = "lra_release, Tay et al. 2020"
    if options.size is None:
        return Info("listops", len(VOCAB), 10, options.max_length, True, VOCAB, source=source)
    task = "pathx" if options.size == 128 else "pathfinder"
    return Info(task, 256, 2, options.size**2, False, source=source)


READERS = {"lra_release": Reader(Release, info, lra_release)}
