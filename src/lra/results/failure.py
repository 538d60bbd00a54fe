"""Why a cell's job failed, as a record: `lra status` and the end of a run read it, not the log.

It lies beside the folder of the cell's unfinished work and goes when a job of the cell starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from lra.core.errors import LRAError, in_one_line
from lra.core.schema import Strict
from lra.results.records import read_record, write_record

Stage = Literal["pretrain", "train", "evaluate"]


class Stopped(LRAError):
    """A job that was asked to stop and has saved its state: the next run goes on from there."""


class Failure(Strict):
    """work/<task>/<model>/seed<k>.failure.json; of a pretraining below work/pretrained/"""

    stage: Stage
    reason: str  # one line
    resumes: bool  # the next run goes on from saved work


def _file(work: Path) -> Path:
    return work.with_name(f"{work.name}.failure.json")


def note(work: Path, stage: Stage, reason: str, resumes: bool = False) -> None:
    write_record(_file(work), Failure(stage=stage, reason=reason, resumes=resumes))


def read(work: Path) -> Failure | None:
    """Of the cell's last job; None where that did not fail."""
    return read_record(_file(work), Failure) if _file(work).exists() else None


@contextmanager
def noted(work: Path, stage: Stage) -> Iterator[None]:
    """Record why what is done in this context fails, where the disk allows it."""
    _file(work).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        reason = in_one_line(error) or f"{type(error).__name__}: {error}"
        with suppress(LRAError):
            note(work, stage, reason.partition("\n")[0], resumes=isinstance(error, Stopped))
        raise
