"""A second copy of a trained cell's files, kept until the run ends.

Snakemake deletes the outputs of a job that fails after its training has ended (cancelled at that
moment, or in one group with a job that fails). Training again would take hours. The copies are hard
links, so they need no space.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lra.config.cell import Cell, read
from lra.core.files import one_line
from lra.results import layout
from lra.results.records import TrainRecord, read_record

FILES = (layout.CONFIG_FILE, layout.CHECKPOINT_FILE, layout.HISTORY_FILE)


def folder(work: Path) -> Path:
    """Beside the folder of a cell's unfinished work."""
    return work.with_name(f"{work.name}.finished")


def keep(cell: Cell, out: Path, work: Path) -> None:
    """Raises LRAError naming the folder where the disk is full."""
    _link(out, folder(work), layout.RECORD_FILES[cell.stage])


def take(cell: Cell, fingerprint: str, pretrained: str | None, work: Path, out: Path) -> bool:
    """Put the copy into `out`; False where there is none of this cell, code and pretraining.

    pretrained: SHA-256 of the checkpoint that the cell begins from.
    """
    kept, name = folder(work), layout.RECORD_FILES[cell.stage]
    if not (kept / name).exists() or read(type(cell), str(kept / layout.CONFIG_FILE)) != cell:
        return False
    record = read_record(kept / name, TrainRecord)
    if (record.fingerprint, record.pretrained) != (fingerprint, pretrained):
        return False
    _link(kept, out, name)
    return True


def forget_taken(experiment: Path) -> None:
    """Delete the copies of cells whose outputs exist; for the end of a run."""
    for works, outs, record in (
        (experiment / "work", experiment / "cells", layout.TRAIN_FILE),
        (experiment / "work/pretrained", experiment / "pretrained", layout.PRETRAIN_FILE),
    ):
        for kept in works.glob("*/*/seed*.finished"):
            seed = kept.name.removesuffix(".finished")
            if (outs / kept.parent.relative_to(works) / seed / record).exists():
                shutil.rmtree(kept)


def _link(old: Path, new: Path, record: str) -> None:
    """Link each file beside its name, then rename it; the record comes last."""
    with one_line(new):
        new.mkdir(parents=True, exist_ok=True)
        (new / record).unlink(missing_ok=True)
        for name in (*FILES, record):
            beside = new / f"{name}.partial"
            beside.unlink(missing_ok=True)
            try:
                os.link(old / name, beside)
            except OSError:  # a file system without links
                shutil.copyfile(old / name, beside)
            beside.replace(new / name)
