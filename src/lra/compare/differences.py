"""Two experiments cell by cell: what differs, by how much, and whether it is significant.

Differences are B minus A, over what both have: the same cells, seeds and test examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lra.compare.causes import Cause, causes
from lra.compare.experiment import Key, Results
from lra.config.cell import profile_row
from lra.core.errors import LRAError
from lra.core.unique import unique
from lra.results.points import MemoryRow, SpeedRow, setting_text
from lra.results.records import read_table
from lra.stats import paired

ALPHA = 0.05
LEVELS = ("no", "values", "predictions", "bits")  # how far two results are the same
PROFILES = {  # table: its rows, the columns that are compared
    "speed": (SpeedRow, ("train_steps_per_s", "infer_steps_per_s")),
    "memory": (MemoryRow, ("peak_bytes",)),
}


@dataclass(frozen=True)
class StatusChange:
    where: str  # listops/linear/seed1, or speed of linear at 1024 tokens
    a: str
    b: str


@dataclass(frozen=True)
class Cell:
    """One (task, model, seed) that both have; accuracies in percent where its status is ok."""

    seed: int
    status_a: str
    status_b: str
    a: float | None
    b: float | None
    difference: float | None  # points
    same: str  # one of LEVELS; "values": nothing but status, accuracy and loss was kept


@dataclass
class Change:
    """One (task, model) that both have; accuracies in percent, differences in points."""

    task: str
    model: str
    cells: list[Cell]
    n: int  # seeds that are ok in both: the values below are over these
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    low: float | None = None  # ends of its 95 % interval
    high: float | None = None
    test: str | None = None  # "examples" or "seeds"; None where no test is possible
    p: float | None = None
    p_holm: float | None = None  # Holm's correction over all (task, model) that were tested
    significant: bool | None = None  # p_holm below ALPHA
    p_seeds: float | None = None  # over seeds, whatever `test` is: would training again differ?
    p_seeds_holm: float | None = None
    same: str = "no"  # the lowest of its cells

    @property
    def name(self) -> str:
        return f"{self.task}/{self.model}"


@dataclass(frozen=True)
class Ratio:
    """One value of a profile point that both have."""

    model: str
    length: int
    column: str  # of speed.parquet or memory.parquet
    a: float
    b: float
    ratio: float  # b / a


@dataclass
class Comparison:
    a: Results
    b: Results
    shared: list[Key]  # cells in both
    changes: list[Change]
    only_a: list[Key]
    only_b: list[Key]
    causes: list[Cause]
    uncaused: list[Key]  # cells that differ without a recorded cause
    notes: list[str] = field(default_factory=list)  # what limits the comparison
    statuses: list[StatusChange] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)

    @property
    def untested(self) -> list[Change]:
        """Different accuracies that no test is possible for: one seed, other test examples."""
        return [c for c in self.changes if c.difference and c.test is None]

    @property
    def agree(self) -> bool:
        """No status changed, no difference is significant, and each could be tested."""
        significant = any(change.significant for change in self.changes)
        return not (self.statuses or significant or self.untested)


def compare(a: Results, b: Results) -> Comparison:
    """Raises LRAError where no cell is in both, or naming the file where one is damaged."""
    shared = [key for key in a.rows if key in b.rows]
    if not shared:
        some = [cell_name(key) for side in (a, b) for key in [*side.rows][:1]]
        raise LRAError(f"{a.name}, {b.name}: no cell is in both ({', '.join(some)} ...)")
    same = {key: _same(a, b, key) for key in shared}
    changes = [_change(a, b, *pair, same) for pair in unique(key[:2] for key in shared)]
    _correct_p(changes)
    found = causes(a, b, shared)
    explained = {key for cause in found for key in cause.cells}
    comparison = Comparison(
        a,
        b,
        shared,
        changes,
        only_a=[key for key in a.rows if key not in b.rows],
        only_b=[key for key in b.rows if key not in a.rows],
        causes=found,
        uncaused=[key for key in shared if same[key] == "no" and key not in explained],
    )
    ours, theirs = (", ".join(side.distinct("protocol")) for side in (a, b))
    if ours != theirs:
        comparison.notes.append(f"Different protocols: {ours} in A, {theirs} in B.")
    for key in shared:
        _add_status(comparison, cell_name(key), a.rows[key], b.rows[key])
    for what in PROFILES:
        _add_profiles(comparison, what)
    return comparison


def cell_name(key: Key) -> str:
    return "{}/{}/seed{}".format(*key)


def _same(a: Results, b: Results, key: Key) -> str:
    """How far a cell's two results are the same: one of LEVELS."""
    ours, theirs = a.rows[key], b.rows[key]
    if any(ours[column] != theirs[column] for column in ("status", "accuracy", "loss")):
        return "no"
    answers = a.answers(key), b.answers(key)
    if ours["status"] != "ok" or None in answers:
        return "values"
    if not all(np.array_equal(x, y) for x, y in zip(*answers, strict=True)):
        return "no"
    weights = a.checkpoint(key), b.checkpoint(key)
    if None in weights:
        return "predictions"
    return "bits" if weights[0] == weights[1] else "no"


def _change(a: Results, b: Results, task: str, model: str, same: dict[Key, str]) -> Change:
    keys = sorted(key for key in same if key[:2] == (task, model))
    ok = [key for key in keys if a.rows[key]["status"] == b.rows[key]["status"] == "ok"]
    change = Change(
        task,
        model,
        [_cell(a, b, key, same[key]) for key in keys],
        n=len(ok),
        same=min((same[key] for key in keys), key=LEVELS.index),
    )
    if not ok:
        return change
    ours, theirs = ([side.rows[key]["accuracy"] for key in ok] for side in (a, b))
    change.a, change.b = float(np.mean(ours)), float(np.mean(theirs))
    change.difference = change.b - change.a
    over_seeds = paired.seeds(theirs, ours)
    change.p_seeds = over_seeds and over_seeds.p
    right = _right(a, b, ok)
    found = paired.examples(right[1], right[0]) if right else over_seeds
    if found:
        change.test = "examples" if right else "seeds"
        change.low, change.high, change.p = found.low, found.high, found.p
    return change


def _cell(a: Results, b: Results, key: Key, same: str) -> Cell:
    statuses = [side.rows[key]["status"] for side in (a, b)]
    ours, theirs = (side.rows[key]["accuracy"] for side in (a, b))
    difference = theirs - ours if statuses == ["ok", "ok"] else None
    return Cell(key[2], *statuses, ours, theirs, difference, same)


def _right(a: Results, b: Results, keys: list[Key]) -> tuple[np.ndarray, np.ndarray] | None:
    """Which answers are right, (seeds, n_test) bool of A and of B.

    None where the test examples of A and B differ or were not kept.
    """
    right: tuple[list, list] = ([], [])
    for key in keys:
        answers = a.answers(key), b.answers(key)
        if None in answers or not np.array_equal(answers[0][0], answers[1][0]):
            return None
        for side, (labels, predictions) in zip(right, answers, strict=True):
            side.append(labels == predictions)
    return np.array(right[0]), np.array(right[1])


def _correct_p(changes: Iterable[Change]) -> None:
    """Holm's correction of each of the two p, over all changes that have it."""
    for name in ("p", "p_seeds"):
        tested = [change for change in changes if getattr(change, name) is not None]
        corrected = paired.holm([getattr(change, name) for change in tested])
        for change, p in zip(tested, corrected, strict=True):
            setattr(change, f"{name}_holm", p)
    for change in changes:
        change.significant = None if change.p_holm is None else change.p_holm < ALPHA


def _add_status(found: Comparison, where: str, was: dict, now: dict) -> None:
    if was["status"] != now["status"]:
        found.statuses.append(StatusChange(where, was["status"], now["status"]))


def _not_comparable(was: dict, now: dict) -> str | None:
    """The first setting of two profile points that differs, where both have recorded it."""
    settings = {"batch size": lambda row: row["batch_size"], "setting": setting_text}
    for name, value in settings.items():
        a, b = value(was), value(now)
        if a != b and "unrecorded" not in f"{a} {b}":
            return f"{name} {a} in A, {b} in B"
    return None


def _add_profiles(found: Comparison, what: str) -> None:
    """Add the ratios of the points that both have, changed statuses, and what limits them."""
    kind, columns = PROFILES[what]
    paths = [side.root / f"{what}.parquet" for side in (found.a, found.b)]
    there = [path.exists() for path in paths]
    if not all(there):
        if any(there):
            found.notes.append(f"Only {'A' if there[0] else 'B'} has {what}.parquet.")
        return
    ours, theirs = (
        {
            (profile_row(row["model"], row["setting"]), row["length"]): row
            for row in read_table(path, kind).to_pylist()
        }
        for path in paths
    )
    devices = []
    for point in (point for point in ours if point in theirs):
        was, now = ours[point], theirs[point]
        where = f"{what} of {point[0]} at {point[1]} tokens"
        _add_status(found, where, was, now)
        if reason := _not_comparable(was, now):
            found.notes.append(f"{where}: {reason}, not compared.")
            continue
        for column in columns:
            if was[column] and now[column]:
                x, y = float(was[column]), float(now[column])
                found.ratios.append(Ratio(*point, column, x, y, y / x))
                devices.append((was["device"], now["device"]))
    found.notes += [
        f"{what}: measured on {was} in A, on {now} in B; the ratios compare these, too."
        for was, now in unique(devices)
        if was != now
    ]
