"""Prepared data sets: a reader turns a downloaded archive into the three splits.

A module ``lra.data.<module>`` holds ``READERS``: the name of each source that it reads -> `Reader`.
The same archive, options, sizes and seed give the same bytes. Nothing is unpacked to disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lra.core.errors import LRAError
from lra.core.files import one_line, sha256, sigterm_unwinds
from lra.core.progress import progress, say
from lra.core.schema import Strict, checked
from lra.data.manifest import MANIFEST, write_manifest
from lra.data.recipe import Recipe
from lra.data.split import SPLITS, Info, SplitWriter

Sizes = dict[str, int]  # split -> examples


@dataclass(frozen=True)
class LeftOut:
    """An example that the archive names, but does not hold."""

    name: str
    why: str


# (split, some of its examples or one that it lacks), splits in any order
Portions = Iterator[tuple[str, pa.Table | LeftOut]]


@dataclass(frozen=True)
class Reader:
    """How one source is read.

    read(archive, options, sizes, seed): the portions of the splits. It draws by `seed` which
    examples are held out. It raises LRAError naming the archive where something is missing or
    malformed.
    """

    options: type[Strict]
    info: Callable[[Strict], Info]
    read: Callable[[Path, Strict, Sizes, int], Portions]


def by_lot(count: int, sizes: Sizes, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """(split, places) of `count` examples in an order drawn by `seed`; train gets the rest."""
    drawn = np.random.default_rng(seed).permutation(count)
    ends = np.cumsum([sizes["test"], sizes["val"]])
    return zip(("test", "val", "train"), np.split(drawn, ends), strict=True)


def chunks(rows: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` rows, the last may be shorter."""
    rows = iter(rows)
    return iter(lambda: list(islice(rows, size)), [])


def prepare_dataset(module: str, recipe: Recipe, archive: Path, out: Path) -> None:
    """Write out/{train,val,test}.arrow and out/dataset.json, all or nothing.

    Raises LRAError for another number of examples than the recipe says and for all that the reader
    finds wrong; the archive stays. What the archive names but lacks is left out of dataset.json's
    splits, and named there and on stderr.
    """
    reader: Reader = import_module(f"lra.data.{module}").READERS[recipe.source]
    settings = checked(reader.options, recipe.options, f"{recipe.source}: options")
    if not archive.is_file():
        raise LRAError(f"{archive}: no such file")
    info = replace(
        reader.info(settings),
        # with several origins the file may be another: then options pin its content
        checksums={archive.name: sha256(archive)} if recipe.archive.is_one_file else {},
        generator={"name": recipe.source, "config": settings.model_dump(), "seed": recipe.seed},
    )
    manifest = out / MANIFEST
    bar = progress(out, sum(recipe.sizes.values()), unit=" examples")
    with sigterm_unwinds(), one_line(manifest), bar:
        manifest.unlink(missing_ok=True)  # it describes the splits that are being replaced
        writers = {split: SplitWriter(out / f"{split}.arrow", info) for split in SPLITS}
        left_out: list[tuple[str, LeftOut]] = []
        try:
            for split, portion in reader.read(archive, settings, recipe.sizes, recipe.seed):
                if isinstance(portion, LeftOut):
                    say(f"{archive}: {portion.name}: left out of {split}: {portion.why}")
                    left_out.append((split, portion))
                    continue
                _check_labels(portion, info, f"{archive}: {split}")
                writers[split].write(portion)
                bar.update(len(portion))
            lacking = Counter(split for split, _ in left_out)
            for split, writer in writers.items():
                if recipe.sizes[split] not in (writer.rows, writer.rows + lacking[split]):
                    raise LRAError(
                        f"{archive}: gives {writer.rows:,} examples of {split}, not the "
                        f"{recipe.sizes[split]:,} that config/datasets.yaml says"
                    )
            for writer in writers.values():
                writer.finish()
        finally:
            for writer in writers.values():
                writer.abandon()
        splits = {
            split: {"rows": writer.rows, "sha256": sha256(writer.path)}
            for split, writer in writers.items()
        }
        write_manifest(out, info, splits, {each.name: each.why for _, each in left_out})


def _check_labels(table: pa.Table, info: Info, where: str) -> None:
    found = pc.min_max(table["label"]).as_py()
    if len(table) and not 0 <= found["min"] <= found["max"] < info.classes:
        wrong = found["min"] if found["min"] < 0 else found["max"]
        raise LRAError(f"{where}: has label {wrong}; labels are 0 to {info.classes - 1}")
