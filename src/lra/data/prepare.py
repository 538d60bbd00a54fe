"""Prepared data sets: a reader turns a downloaded archive into the three splits.

A module ``lra.data.<module>`` holds ``READERS``: the name of each source that it reads -> `Reader`.
The same archive, options, sizes and seed give the same bytes. Nothing is unpacked to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa

from lra.core.errors import LRAError
from lra.core.files import one_line, set_aside, sha256, sigterm_unwinds
from lra.core.progress import progress
from lra.core.schema import Strict, checked
from lra.data.manifest import MANIFEST, write_manifest
from lra.data.recipe import Recipe
from lra.data.split import SPLITS, Info, SplitWriter

Sizes = dict[str, int]  # split -> examples
Portions = Iterator[tuple[str, pa.Table]]  # (split, some of its examples), splits in any order


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


def prepare_dataset(module: str, recipe: Recipe, archive: Path, out: Path) -> None:
    """Write out/{train,val,test}.arrow and out/dataset.json, all or nothing.

    Raises LRAError for another number of examples than the recipe says and for all that the reader
    finds wrong. The archive is then set aside, unless it has the recipe's SHA-256.
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
        manifest.unlink(missing_ok=True)  # it describes the splits that are being replaced
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
