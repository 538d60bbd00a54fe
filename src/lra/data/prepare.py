"""Prepared data sets: a reader turns a downloaded archive into the three splits, in one stream.

A module ``lra.data.<module>`` holds ``READERS``: the name of each source that it reads -> `Reader`.
Nothing is unpacked to disk. The same archive, options, sizes and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lra.core.errors import LRAError
from lra.core.files import one_line, set_aside, sha256, sigterm_unwinds
from lra.core.progress import progress
from lra.core.schema import Strict, checked
from lra.data.manifest import MANIFEST, write_manifest
from lra.data.split import SPLITS, Info, SplitWriter

Sizes = dict[str, int]  # split -> examples
Portions = Iterator[tuple[str, pa.Table]]  # (split, some of its examples), splits in any order


@dataclass(frozen=True)
class Reader:
    """How one source is read.

    info: of these options. read(archive, options, sizes, seed): portions of the splits; it draws
    what it must (which examples are held out) by `seed` and raises LRAError naming the archive
    where something is missing or malformed.
    """

    options: type[Strict]
    info: Callable[[Strict], Info]
    read: Callable[[Path, Strict, Sizes, int], Portions]


def by_lot(count: int, sizes: Sizes, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """(split, places) of `count` examples, in an order drawn by `seed`; the rest is for train."""
    drawn = np.random.default_rng(seed).permutation(count)
    ends = np.cumsum([sizes["test"], sizes["val"]])
    return zip(("test", "val", "train"), np.split(drawn, ends), strict=True)


def prepare_dataset(module: str, recipe: Any, archive: Path, out: Path) -> None:
    """Write out/{train,val,test}.arrow and out/dataset.json, all or nothing.

    recipe: source, options, train, val, test, seed and archive of a data set. Another number of
    examples than it says, or anything that the reader finds wrong, raises LRAError; the archive is
    then set aside unless its SHA-256 says that it is the right one.
    """
    reader: Reader = import_module(f"lra.data.{module}").READERS[recipe.source]
    settings = checked(reader.options, recipe.options, f"{recipe.source}: options")
    found = sha256(archive)
    info = replace(
        reader.info(settings),
        checksums={archive.name: found},
        generator={"name": recipe.source, "config": settings.model_dump(), "seed": recipe.seed},
    )
    manifest = out / MANIFEST
    bar = progress(out, sum(recipe.sizes.values()), unit=" examples")
    with sigterm_unwinds(), one_line(manifest), bar:
        manifest.unlink(missing_ok=True)  # it would vouch for splits that are being replaced
        writers = {split: SplitWriter(out / f"{split}.arrow", info) for split in SPLITS}
        try:
            for split, table in reader.read(archive, settings, recipe.sizes, recipe.seed):
                writers[split].write(table)
                bar.update(len(table))
            for split, writer in writers.items():
                if writer.rows != recipe.sizes[split]:
                    raise LRAError(
                        f"{archive}: gives {writer.rows:,} examples of {split}, not the "
                        f"{recipe.sizes[split]:,} that config/datasets.yaml says"
                    )
            for writer in writers.values():
                writer.finish()
        except LRAError as error:
            pinned = recipe.archive and recipe.archive.sha256
            if found == pinned or not archive.exists():
                raise
            bad = set_aside(archive)
            raise LRAError(f"{error}; the archive is now {bad.name}") from None
        finally:
            for writer in writers.values():
                writer.abandon()
        splits = {
            split: {"rows": writer.rows, "sha256": sha256(writer.path)}
            for split, writer in writers.items()
        }
        write_manifest(out, info, splits)
