"""How far an experiment is: cells done, running, waiting and failed, and the hours that are left.

Files alone tell, so that a person may ask from any terminal that sees the folder: a cell is done
when it is scored, running while its log or its unfinished work is written. Whether one was
changed since, `snakemake -n` knows. Imports no torch.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lra.config.cell import Cell
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.planning.estimate import CACHE, Estimates, read_cache
from lra.results import failure, layout
from lra.results.records import CurveRow, TrainRecord, read_record, read_table

RECENT_SECONDS = 180.0  # a training writes a line every 10 s, but for an evaluation's time
STATES = ("done", "running", "waiting", "failed")
BARS = 40  # characters of a curve's full height


@dataclass(frozen=True)
class Seen:
    """One cell as its files show it."""

    name: str
    state: str  # one of STATES
    step: int  # of the newest row of its history; 0 where there is none
    seconds: float  # of training, until that step
    reason: str | None = None  # of a failure: its status, and why

    @property
    def rate(self) -> float | None:
        """Steps per second."""
        return self.step / self.seconds if self.step and self.seconds else None


class Files:
    """Of one cell, below results/<experiment>/."""

    def __init__(self, root: Path, name: str) -> None:
        task, model, seed = name.split("/")
        cell = {"task": task, "model": model, "seed": seed.removeprefix("seed")}
        self.trained = root / layout.TRAIN_RECORD.format(**cell)
        self.scored = root / layout.SCORE_RECORD.format(**cell)
        self.done = root / layout.HISTORY.format(**cell)
        self.work = root / layout.WORK.format(**cell)
        self.log = root / layout.log("train", layout.NAME).format(**cell)

    @property
    def curve(self) -> Path | None:
        """The history so far, or of the finished cell."""
        paths = (self.work / "history.parquet", self.done)
        return next((path for path in paths if path.exists()), None)

    def written(self) -> float:
        """Seconds since the training last wrote something; infinite where it never did."""
        times = []
        for path in (self.log, *self.work.glob("*")):
            with suppress(FileNotFoundError):  # renamed or removed since
                times.append(path.stat().st_mtime)
        return time.time() - max(times) if times else float("inf")


def look(root: Path, name: str) -> Seen:
    """A cell by its files. Raises LRAError naming a record that is broken."""
    files = Files(root, name)
    failed = failure.read(files.work)
    why = failed and f"failed: {failed.reason}"
    if files.trained.exists():
        record = read_record(files.trained, TrainRecord)
        known = (record.steps, record.train_seconds)
        if record.status != "ok":
            reason = f"{record.status}: {record.reason or 'no reason given'}"
            return Seen(name, "failed", *known, reason)
        if files.scored.exists():
            return Seen(name, "done", *known)
        return Seen(name, "failed" if failed else "waiting", *known, why)
    step, seconds = progress(files.work / "history.parquet")
    if failed and not failed.resumes:
        return Seen(name, "failed", step, seconds, why)
    runs = not failed and files.written() < RECENT_SECONDS
    return Seen(name, "running" if runs else "waiting", step, seconds, why)


def progress(history: Path) -> tuple[int, float]:
    """Step and seconds of the last row."""
    if not history.exists():
        return 0, 0.0
    try:
        rows = read_table(history, CurveRow)
    except LRAError:
        if history.exists():
            raise
        return 0, 0.0  # the training has just ended
    return (rows["step"][-1].as_py(), rows["seconds"][-1].as_py()) if len(rows) else (0, 0.0)


class Progress:
    """Of all cells of an experiment, in the order of its file."""

    def __init__(self, arena: Arena, results: Path) -> None:
        self.arena, self.experiment = arena, arena.experiment
        root = results / self.experiment.experiment
        self.cells = [look(root, name) for name in self.experiment.cells]
        self.estimates = Estimates(arena, read_cache(arena.root / CACHE), results)
        self.known: dict[str, Cell] = {}

    def resolved(self, name: str) -> Cell:
        """The cell; of seeds of the same (task, model) one stands for all."""
        pair = name.rpartition("/")[0]
        if pair not in self.known:
            task, model = pair.split("/")
            self.known[pair] = self.arena.resolve(task, model, self.experiment.seeds[0])[0]
        return self.known[pair]

    @cached_property
    def pace(self) -> dict[str, float]:
        """Seconds per step of each (task, model) of which some seed has trained, their mean."""
        paces: dict[str, list[float]] = {}
        for cell in self.cells:
            if cell.rate:
                paces.setdefault(cell.name.rpartition("/")[0], []).append(1 / cell.rate)
        return {pair: sum(each) / len(each) for pair, each in paces.items()}

    def left(self, cell: Seen) -> tuple[float | None, str]:
        """Hours that a cell still trains, and what they are known by."""
        steps = self.resolved(cell.name).training.steps
        if cell.state in ("done", "failed") or cell.step >= steps:
            return 0.0, "done"
        pair = cell.name.rpartition("/")[0]
        pace = 1 / cell.rate if cell.rate else self.pace.get(pair)
        if pace is not None:
            return (steps - cell.step) * pace / 3600, "measured"
        costs = self.estimates.costs(self.resolved(cell.name))
        if costs is None:
            return None, "unknown"
        return (costs.hours if costs.fits else 0.0), "estimated"


def report(progress: Progress) -> str:
    """What a person reads: counts by task, what runs, what failed, what is left."""
    experiment = progress.experiment
    count = Counter((cell.name.partition("/")[0], cell.state) for cell in progress.cells)
    lines = [f"{experiment.experiment}: {len(progress.cells):,} cells"]
    lines.append(f"{'':14}" + "".join(f"{state:>9}" for state in STATES))
    lines += [
        f"{task:14}" + "".join(f"{count[task, state]:9,}" for state in STATES)
        for task in experiment.tasks
    ]
    running = [cell for cell in progress.cells if cell.state == "running"]
    for cell in running:
        hours, _ = progress.left(cell)
        steps = progress.resolved(cell.name).training.steps
        speed = f"  {cell.rate:.1f} steps/s" if cell.rate else ""
        ends = "" if hours is None else f"  {clock(hours)} left"
        lines.append(f"running  {cell.name}  step {cell.step:,}/{steps:,}{speed}{ends}")
    failed = [cell for cell in progress.cells if cell.state == "failed"]
    lines += [f"failed   {cell.name}  {cell.reason.removeprefix('failed: ')}" for cell in failed]
    return "\n".join([*lines, *remaining(progress, len(running))])


def remaining(progress: Progress, running: int) -> list[str]:
    """Device-hours left and, by as many devices as now run a cell, when the last one ends."""
    known = [progress.left(cell) for cell in progress.cells]
    hours = [each for each, _ in known if each]
    by = Counter(how for _, how in known if how != "done")
    if not by:
        return ["nothing left to train; whether a cell has changed since, snakemake -n says"]
    kind = "CPU" if progress.experiment.device == "cpu" else "GPU"
    total = sum(hours)
    how = ", ".join(f"{n:,} cells {word}" for word, n in by.items())
    amount = f"{total:,.2g}" if total < 100 else f"{total:,.0f}"
    lines = [f"left     {amount} {kind}-hours of training ({how})"]
    if by["estimated"]:
        lines.append(f"         estimated on {progress.estimates.assumed()}")
    if running and hours:
        eta = max(total / running, max(hours))
        lines.append(f"ETA      {clock(eta)} with {running} at once, as now")
    return lines


def clock(hours: float) -> str:
    """h:mm:ss"""
    seconds = round(3600 * hours)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def curve(root: Path, name: str) -> str:
    """A cell's learning curve so far, one line an evaluation, drawn with characters."""
    path = Files(root, name).curve
    if path is None:
        return f"{name}: no evaluation so far"
    rows = read_table(path, CurveRow).to_pylist()
    lines = [f"{name}, {path}", f"{'step':>10}{'val loss':>10}{'val accuracy':>14}"]
    for row in rows:
        if row["split"] == "val":
            bar = "#" * round(BARS * row["accuracy"] / 100)
            lines.append(f"{row['step']:10,}{row['loss']:10.4f}{row['accuracy']:12.2f} %  {bar}")
    return "\n".join(lines)
