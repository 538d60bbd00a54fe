"""The end of a run: each cell that is not ok, each job that failed, why, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lra.config.schema import Experiment
from lra.core.errors import SPEAKER, LRAError
from lra.core.formats import listed
from lra.planning.status import file, look
from lra.results import layout
from lra.results.records import TrainRecord, read_record

MOST_NAMES = 8  # cells or jobs named in one line


@dataclass(frozen=True, order=True)
class FailedJob:
    """A job of Snakemake that ended with an error in its last attempt."""

    name: str  # what it made, as its message says
    log: Path | None

    @property
    def reason(self) -> str:
        """The error in its log; it may have been killed before it could say one."""
        if self.log is None or not self.log.exists():
            return "left no log"
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line.removeprefix(SPEAKER) for line in lines if line.startswith(SPEAKER)]
        return f"{errors[-1] if errors else 'ended without saying why'} ({self.log})"


def summary(
    results: Path,
    experiment: Experiment,
    arguments: list[str],
    failed: Iterable[FailedJob] = (),
    asked: Container[str] | None = None,
) -> str:
    """Lines for people; arguments: of the snakemake that ran the experiment.

    failed: jobs other than those of cells, whose failures have records. asked: cells that the run
    was to finish; None: all. The same arguments run what has no record. A cell whose training ended
    with a status is finished for Snakemake and must be forced; after a timeout it goes on from its
    saved step.
    """
    root = results / experiment.experiment
    again = f"    {shlex.join(['snakemake', *arguments])}"
    lines, waiting, others = [], [], 0
    for name in experiment.cells:
        record = _to_force(root, name)
        log = file(root, layout.log("train", layout.NAME), name)
        try:
            seen = look(root, name)
            reason, forced = seen.reason, seen.bad_status is not None
        except LRAError as error:
            seen, reason, forced = None, f"damaged: {error}", True
        if seen and seen.state == "done":
            continue
        if not reason and asked is not None and name not in asked:
            others += 1
            continue
        if not reason and not log.exists():
            waiting.append(name)
            continue
        force = [f"--forcerun={record}"] if forced else []  # first: after `--` come targets
        lines += [
            f"  {name}  {reason or f'ended without a recorded reason, see {log}'}",
            f"    {shlex.join(['snakemake', *force, *arguments])}",
        ]
    if waiting:
        dashes = [] if "--" in arguments else ["--"]
        lines.append(f"  not run: {_some(waiting)}")
        lines.append(f"    {shlex.join(['snakemake', *arguments, *dashes, 'cells'])}")
    total = len(experiment.cells)
    if lines:
        lines = [f"Not ok, of {total} cells:", *lines]
    elif others:
        lines = [f"{total - others} of {total} cells are ok; no other was asked for."]
    else:
        lines = [f"All {total} cells are ok."]
    if failed := sorted(failed):
        lines += [f"  {job.name}: {job.reason}" for job in failed]
        names = _some([job.name for job in failed])
        lines += [f"Failed jobs, {len(failed)}: {names}", again]
    return "\n".join(lines)


def _to_force(root: Path, name: str) -> Path:
    """The record that makes a cell run again: of its pretraining, where that is what went wrong."""
    first = file(root, layout.PRETRAIN_RECORD, name)
    with suppress(LRAError):  # missing, or damaged
        if read_record(first, TrainRecord).status != "ok":
            return first
    return file(root, layout.TRAIN_RECORD, name)


def _some(names: list[str]) -> str:
    shown = names[:MOST_NAMES]
    more = len(names) - len(shown)
    return listed([*shown, f"{more:,} more"] if more else shown)
