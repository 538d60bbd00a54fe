"""How far an experiment is: cells done, running, waiting and failed, and the hours that are left.

This reads files alone, so it works from any terminal that sees the folder: a cell is done when it
is scored, and running while its log or its unfinished work is written. It does not see whether a
cell has changed since: `snakemake -n` does. Imports no torch.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean

from lra.config.cell import Cell
from lra.config.resolve import Arena
from lra.config.yaml_file import read_yaml
from lra.core.errors import LRAError
from lra.core.formats import duration, elapsed, listed
from lra.core.schema import leaves
from lra.planning.estimate import CACHE, Estimates, device_kind, read_cache
from lra.results import failure, layout
from lra.results.records import CurveRow, TrainRecord, read_record, read_table

RECENT_SECONDS = 180.0  # a training writes a line every 10 s, except while it evaluates
STATES = ("done", "running", "waiting", "failed")
SHOWN = 5  # waiting cells with a reason
BARS = 40  # characters of a curve's full height


@dataclass(frozen=True)
class Seen:
    """One cell as its files show it."""

    name: str
    state: str  # one of STATES
    step: int  # of the newest row of its history; 0 where there is none
    seconds: float  # of training, until that step
    reason: str | None = None  # why it failed
    bad_status: str | None = None  # of its training, where that has ended and is not ok
    pretrains: bool = False  # its pretraining has begun and not ended: step and seconds are of that

    @property
    def pair(self) -> str:
        """task/model"""
        return self.name.rpartition("/")[0]

    @property
    def rate(self) -> float | None:
        """Steps per second."""
        return self.step / self.seconds if self.step and self.seconds else None


def file(root: Path, pattern: str, name: str) -> Path:
    """Of the cell `name` (task/model/seed<k>), by a pattern of layout.py."""
    return root / pattern.replace(layout.NAME, name)


def look(root: Path, name: str) -> Seen:
    """A cell by its files. Raises LRAError naming a record that is broken."""
    work = file(root, layout.WORK, name)
    trained = file(root, layout.TRAIN_RECORD, name)
    failed = failure.read(work)
    reason = failed and failed.reason
    if not trained.exists() and (seen := _pretraining(root, name)):
        return seen
    if not trained.exists():
        step, seconds = _newest(work / layout.HISTORY_FILE)
        if failed:
            state = "waiting" if failed.resumes else "failed"
        elif _has_ended(root, name):
            return Seen(name, "waiting", 0, 0.0, f"{trained} is missing")
        else:
            log = file(root, layout.log("train", layout.NAME), name)
            state = "running" if _written_lately(work, log) else "waiting"
        return Seen(name, state, step, seconds, reason)
    record = read_record(trained, TrainRecord)
    known = record.steps, record.train_seconds
    if record.status != "ok":
        reason = f"{record.status}: {record.reason or 'no reason given'}"
        return Seen(name, "failed", *known, reason, record.status)
    if file(root, layout.SCORE_RECORD, name).exists():
        return Seen(name, "done", *known)
    return Seen(name, "failed" if failed else "waiting", *known, reason)


def _pretraining(root: Path, name: str) -> Seen | None:
    """A cell whose pretraining has begun and not ended; None for others."""
    work = file(root, layout.PRETRAIN_WORK, name)
    log = file(root, layout.log("pretrain", layout.NAME), name)
    failed = failure.read(work)
    if file(root, layout.PRETRAIN_RECORD, name).exists() or not (failed or log.exists()):
        return None
    known = _newest(work / layout.HISTORY_FILE)
    if failed:
        state = "waiting" if failed.resumes else "failed"
        return Seen(name, state, *known, f"pretraining: {failed.reason}", pretrains=True)
    state = "running" if _written_lately(work, log) else "waiting"
    return Seen(name, state, *known, pretrains=True)


def _has_ended(root: Path, name: str) -> bool:
    """Whether a training has left files, of which somebody removed the record.

    Snakemake removes what a training will write before it starts.
    """
    written = (layout.CONFIG, layout.CHECKPOINT, layout.HISTORY)
    if (file(root, layout.WORK, name) / layout.ATTEMPT_FILE).exists():
        return False
    if any(file(root, pattern, name).exists() for pattern in written):
        return True
    score = file(root, layout.SCORE_RECORD, name)
    log = file(root, layout.log("train", layout.NAME), name)
    with suppress(FileNotFoundError):
        return log.stat().st_mtime <= score.stat().st_mtime
    return False


def _written_lately(work: Path, log: Path) -> bool:
    """Whether a training has written something in the last minutes."""
    times = [0.0]
    for path in (log, *work.glob("*")):
        with suppress(FileNotFoundError):  # renamed or removed since
            times.append(path.stat().st_mtime)
    return time.time() - max(times) < RECENT_SECONDS


def _newest(history: Path) -> tuple[int, float]:
    """Step and seconds of the last row; zeros where there is none."""
    try:
        rows = read_table(history, CurveRow) if history.exists() else ()
    except LRAError:
        if history.exists():
            raise
        rows = ()  # the training has just ended
    return (rows["step"][-1].as_py(), rows["seconds"][-1].as_py()) if len(rows) else (0, 0.0)


class Progress:
    """All cells of an experiment, in the order of its file."""

    def __init__(self, arena: Arena, results: Path) -> None:
        self.arena, self.experiment = arena, arena.experiment
        root = results / self.experiment.experiment
        self.resolved: dict[str, Cell] = {}
        self.root = root
        self.cells = [self._current(look(root, name)) for name in self.experiment.cells]
        self.estimates = Estimates(arena, read_cache(arena.root / CACHE), results)

    def _current(self, seen: Seen) -> Seen:
        """The same, or waiting, where it was trained with other settings."""
        config = file(self.root, layout.CONFIG, seen.name)
        if not (config.exists() and file(self.root, layout.TRAIN_RECORD, seen.name).exists()):
            return seen
        cell = self.cell(seen.pair).model_dump(mode="json")
        now = dict(leaves(cell | {"seed": int(seen.name.rpartition("/seed")[2])}))
        then = dict(leaves(read_yaml(config)))
        changed = [key for key in now.keys() | then.keys() if now.get(key) != then.get(key)]
        if not changed:
            return seen
        key = min(changed)
        reason = f"trained with other settings: {key} was {then.get(key)}, now {now.get(key)}"
        return Seen(seen.name, "waiting", 0, 0.0, reason)

    def cell(self, pair: str) -> Cell:
        """The resolved cell of a task/model; one seed stands for all."""
        if pair not in self.resolved:
            seed = self.experiment.seeds[0]
            self.resolved[pair] = self.arena.resolve(*pair.split("/"), seed)[0]
        return self.resolved[pair]

    @cached_property
    def gone(self) -> list[str]:
        """A line on files of cells that are done which an archive needs, and snakemake remakes."""
        done = [seen.name for seen in self.cells if seen.state == "done"]
        needed = (layout.CONFIG, layout.HISTORY, layout.PREDICTIONS)
        paths = (file(self.root, pattern, name) for name in done for pattern in needed)
        missing = [path for path in paths if not path.exists()]
        if not missing:
            return []
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        return [f"missing  {missing[0]}{more}; snakemake makes them again"]

    @cached_property
    def pace(self) -> dict[str, float]:
        """Mean seconds per step of each task/model that has trained."""
        paces: dict[str, list[float]] = {}
        for seen in self.cells:
            if seen.rate and not seen.pretrains:
                paces.setdefault(seen.pair, []).append(1 / seen.rate)
        return {pair: mean(each) for pair, each in paces.items()}

    def left(self, seen: Seen) -> tuple[float | None, str]:
        """Hours that a cell still trains, and where they come from."""
        if seen.state in ("done", "failed"):
            return 0.0, "done"
        cell = self.cell(seen.pair)
        known, nothing = (seen.step, seen.rate), (0, None)
        first = cell.pretraining_cell
        if first and not file(self.root, layout.PRETRAIN_RECORD, seen.name).exists():
            own = known if seen.pretrains else nothing
            parts = [self._left(first, *own, None), self._left(cell, *nothing, seen.pair)]
        else:
            parts = [self._left(cell, *known, seen.pair)]
        if any(hours is None for hours, _ in parts):
            return None, "unknown"
        return sum(hours for hours, _ in parts), parts[-1][1]

    def _left(
        self, cell: Cell, step: int, rate: float | None, pair: str | None
    ) -> tuple[float | None, str]:
        """The same of one training after `step`; pair: whose mean pace counts if it has no rate."""
        steps = cell.training.steps - step
        if steps <= 0:
            return 0.0, "done"
        pace = 1 / rate if rate else self.pace.get(pair)
        if pace is not None:
            return steps * pace / 3600, "measured"
        costs = self.estimates.costs(cell)
        if costs is None:
            return None, "unknown"
        return (costs.hours if costs.fits else 0.0), "estimated"


def report(progress: Progress) -> str:
    """For people: how many cells of each task, what runs, what failed, what is left."""
    experiment = progress.experiment
    count = Counter((seen.name.partition("/")[0], seen.state) for seen in progress.cells)
    lines = [f"{experiment.experiment}: {len(progress.cells):,} cells"]
    lines.append(f"{'':14}" + "".join(f"{state:>9}" for state in STATES))
    lines += [
        f"{task:14}" + "".join(f"{count[task, state]:9,}" for state in STATES)
        for task in experiment.tasks
    ]
    running = [seen for seen in progress.cells if seen.state == "running"]
    for seen in running:
        hours, _ = progress.left(seen)
        cell = progress.cell(seen.pair)
        part = cell.pretraining_cell if seen.pretrains else cell
        steps, what = part.training.steps, " of its pretraining" if seen.pretrains else ""
        speed = f"  {seen.rate:.1f} steps/s" if seen.rate else ""
        ends = "" if hours is None else f"  {duration(hours)} left"
        lines.append(f"running  {seen.name}  step {seen.step:,}/{steps:,}{what}{speed}{ends}")
    failed = [seen for seen in progress.cells if seen.state == "failed"]
    lines += [f"failed   {seen.name}  {seen.reason}" for seen in failed]
    waiting = [seen for seen in progress.cells if seen.state == "waiting" and seen.reason]
    lines += [f"waiting  {seen.name}  {seen.reason}" for seen in waiting[:SHOWN]]
    if more := waiting[SHOWN:]:
        lines.append(f"waiting  {len(more):,} more like the last")
    lines += progress.gone
    return "\n".join([*lines, *_remaining(progress, len(running))])


def _remaining(progress: Progress, running: int) -> list[str]:
    """Time of training left, and when the last cell ends if as many run at once as now."""
    known = [progress.left(seen) for seen in progress.cells]
    hours = [each for each, _ in known if each]
    by = Counter(how for _, how in known if how != "done")
    if not by:
        return ["nothing left to train; whether a cell has changed since, snakemake -n says"]
    counts = listed(f"{n:,} cells {how}" for how, n in by.items())
    amount = f"{elapsed(3600 * sum(hours))} of {device_kind(progress.experiment)} time"
    lines = [f"left     {amount} ({counts})"]
    if by["estimated"]:
        lines.append(f"         estimated on {progress.estimates.assumed()}")
    if running and hours:
        end = duration(max(sum(hours) / running, *hours))
        lines.append(f"ETA      {end} with {running} at once, as now")
    return lines


def curve(root: Path, name: str) -> str:
    """A cell's learning curve so far, one line an evaluation, drawn with characters.

    Before its training has an evaluation, that of its pretraining.
    """
    works = (file(root, work, name) for work in (layout.WORK, layout.PRETRAIN_WORK))
    train, pretrain = (work / layout.HISTORY_FILE for work in works)
    ended = (file(root, each, name) for each in (layout.HISTORY, layout.PRETRAINED_HISTORY))
    places = train, next(ended), pretrain, next(ended)
    path = next((path for path in places if path.exists()), None)
    if path is None:
        return f"{name}: no evaluation so far"
    lines = [f"{name}, {path}", f"{'step':>10}{'val loss':>10}{'val accuracy':>14}"]
    for row in read_table(path, CurveRow).to_pylist():
        if row["split"] == "val":
            bar = "#" * round(BARS * row["accuracy"] / 100)
            lines.append(f"{row['step']:10,}{row['loss']:10.4f}{row['accuracy']:12.2f} %  {bar}")
    return "\n".join(lines)
