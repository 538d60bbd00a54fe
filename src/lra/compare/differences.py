"""Two experiments cell by cell: what changed, by how much, and whether the test examples show it.

Differences are B minus A, over what both have: the same cells, seeds and test examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lra.compare.causes import Cause, causes
from lra.compare.experiment import Finished, Key
from lra.core.errors import LRAError
from lra.results.records import MemoryRow, SpeedRow, read_table
from lra.stats import paired

ALPHA = 0.05
RATIO = 1.1  # speed and memory that differ by less are not named
FIGURES = ("train_steps_per_s", "infer_steps_per_s", "peak_bytes")


@dataclass(frozen=True)
class StatusChange:
    where: str  # listops/linear/seed1, or linear at 1024, speed
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
    same: str  # "bits", "predictions", "figures" (nothing else was kept), or "no"


@dataclass
class Change:
    """One (task, model) that both have; accuracies in percent, differences in points."""

    task: str
    model: str
    cells: list[Cell]
    only_a: list[int]
    only_b: list[int]
    n: int  # seeds that are ok in both: the figures are over these
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    low: float | None = None  # ends of its 95 % interval
    high: float | None = None
    test: str | None = None  # "examples", "seeds", or none was possible
    p: float | None = None
    p_holm: float | None = None  # over all cells that were tested
    significant: bool | None = None  # p_holm below ALPHA
    p_seeds: float | None = None  # over seeds, whatever `test` is: would training again differ?
    p_seeds_holm: float | None = None
    same: str = "no"  # the least of its cells

    @property
    def seeds(self) -> list[int]:
        """Those in both."""
        return [cell.seed for cell in self.cells]

    @property
    def name(self) -> str:
        return f"{self.task}/{self.model}"


@dataclass(frozen=True)
class Ratio:
    """A profile point that both have."""

    model: str
    length: int
    figure: str  # one of FIGURES
    a: float
    b: float
    ratio: float  # b / a


@dataclass
class Comparison:
    a: Finished
    b: Finished
    notes: list[str]  # what must be known before the figures
    statuses: list[StatusChange]
    changes: list[Change]
    only_a: list[Key]
    only_b: list[Key]
    causes: list[Cause]
    uncaused: list[Key] = field(default_factory=list)  # changed, and nothing recorded says why
    ratios: list[Ratio] = field(default_factory=list)

    @property
    def shared(self) -> list[Key]:
        return [key for key in self.a.rows if key in self.b.rows]

    @property
    def untested(self) -> list[Change]:
        """Accuracies that differ where no test was possible: one seed, other test examples."""
        return [c for c in self.changes if c.difference and c.test is None]

    @property
    def agree(self) -> bool:
        """No status changed, no difference is significant, and each could be tested."""
        significant = any(change.significant for change in self.changes)
        return not (self.statuses or significant or self.untested)


def compare(a: Finished, b: Finished) -> Comparison:
    """Raises LRAError where no cell is in both, or naming the file where one is damaged."""
    shared = [key for key in a.rows if key in b.rows]
    if not shared:
        some = ["/".join(key[:2]) + f"/seed{key[2]}" for side in (a, b) for key in [*side.rows][:1]]
        raise LRAError(f"{a.name}, {b.name}: no cell is in both ({', '.join(some)} ...)")
    same = {key: _same(a, b, key) for key in shared}
    changes = []
    for task, model in dict.fromkeys(key[:2] for key in shared):
        changes.append(_change(a, b, task, model, same))
    _judge(changes)
    statuses = [
        StatusChange("/".join(key[:2]) + f"/seed{key[2]}", was, now)
        for key in shared
        if (was := a.rows[key]["status"]) != (now := b.rows[key]["status"])
    ]
    found = causes(a, b, shared)
    explained = {key for cause in found for key in cause.cells}
    points, lost, odd = _profiles(a, b)
    return Comparison(
        a,
        b,
        notes=[*_notes(a, b), *odd],
        statuses=statuses + lost,
        changes=changes,
        only_a=[key for key in a.rows if key not in b.rows],
        only_b=[key for key in b.rows if key not in a.rows],
        causes=found,
        uncaused=[key for key in shared if same[key] == "no" and key not in explained],
        ratios=points,
    )


def _same(a: Finished, b: Finished, key: Key) -> str:
    """How far a cell's two results are the same, see Cell.same."""
    ours, theirs = a.rows[key], b.rows[key]
    if any(ours[column] != theirs[column] for column in ("status", "accuracy", "loss")):
        return "no"
    if ours["status"] != "ok":
        return "figures"
    answers = a.answers(key), b.answers(key)
    if None in answers:
        return "figures"
    if not all(np.array_equal(x, y) for x, y in zip(*answers, strict=True)):
        return "no"
    weights = a.checkpoint(key), b.checkpoint(key)
    if None in weights:
        return "predictions"
    return "bits" if weights[0] == weights[1] else "no"


def _change(a: Finished, b: Finished, task: str, model: str, same: dict[Key, str]) -> Change:
    of_a, of_b = ([s for t, m, s in side.rows if (t, m) == (task, model)] for side in (a, b))
    keys = [(task, model, seed) for seed in sorted(set(of_a) & set(of_b))]
    ok = [key for key in keys if a.rows[key]["status"] == b.rows[key]["status"] == "ok"]
    levels = ("no", "figures", "predictions", "bits")
    change = Change(
        task,
        model,
        [_cell(a, b, key, same[key]) for key in keys],
        only_a=[seed for seed in of_a if seed not in of_b],
        only_b=[seed for seed in of_b if seed not in of_a],
        n=len(ok),
        same=min((same[key] for key in keys), key=levels.index),
    )
    if not ok:
        return change
    accuracy = [np.array([side.rows[key]["accuracy"] for key in ok]) for side in (a, b)]
    change.a, change.b = (float(values.mean()) for values in accuracy)
    change.difference = change.b - change.a
    right, over_seeds = _correct(a, b, ok), paired.seeds(accuracy[1], accuracy[0])
    change.p_seeds = over_seeds and over_seeds.p
    found = paired.examples(right[1], right[0]) if right else over_seeds
    if found:
        change.test = "examples" if right else "seeds"
        change.low, change.high, change.p = found.low, found.high, found.p
    return change


def _cell(a: Finished, b: Finished, key: Key, same: str) -> Cell:
    statuses = [side.rows[key]["status"] for side in (a, b)]
    ours, theirs = (side.rows[key]["accuracy"] for side in (a, b))
    difference = theirs - ours if statuses == ["ok", "ok"] else None
    return Cell(key[2], *statuses, ours, theirs, difference, same)


def _correct(a: Finished, b: Finished, keys: list[Key]) -> tuple[np.ndarray, np.ndarray] | None:
    """Which answers are right, (seeds, examples) of A and of B; None where the examples differ."""
    right: tuple[list, list] = ([], [])
    for key in keys:
        answers = a.answers(key), b.answers(key)
        if None in answers or not np.array_equal(answers[0][0], answers[1][0]):
            return None
        for side, (labels, predictions) in zip(right, answers, strict=True):
            side.append(labels == predictions)
    return np.array(right[0]), np.array(right[1])


def _judge(changes: Iterable[Change]) -> None:
    """Holm's correction over all cells that were tested, of each of the two p."""
    tested = [change for change in changes if change.p is not None]
    for change, p in zip(tested, paired.holm([c.p for c in tested]), strict=True):
        change.p_holm, change.significant = p, p < ALPHA
    tested = [change for change in changes if change.p_seeds is not None]
    for change, p in zip(tested, paired.holm([c.p_seeds for c in tested]), strict=True):
        change.p_seeds_holm = p


def _notes(a: Finished, b: Finished) -> list[str]:
    """Why the two may not be comparable at all."""
    notes = []
    protocols = [", ".join(side.every("protocol")) for side in (a, b)]
    if protocols[0] != protocols[1]:
        notes.append(f"Different protocols: {protocols[0]} in A, {protocols[1]} in B.")
    for column in ("task", "model", "seed"):
        ours, theirs = a.every(column), b.every(column)
        for side, extra in (
            ("A", [each for each in ours if each not in theirs]),
            ("B", [each for each in theirs if each not in ours]),
        ):
            if extra:
                plural = "s" if len(extra) > 1 else ""
                notes.append(f"Only {side} has {column}{plural} {', '.join(map(str, extra))}.")
    return notes


def _profiles(a: Finished, b: Finished) -> tuple[list[Ratio], list[StatusChange], list[str]]:
    """Figures of the points that both have, statuses that changed, and what cannot be compared."""
    ratios, statuses, notes = [], [], []
    for what, kind in (("speed", SpeedRow), ("memory", MemoryRow)):
        paths = [side.root / f"{what}.parquet" for side in (a, b)]
        there = [path.exists() for path in paths]
        if there[0] != there[1]:
            notes.append(f"Only {'A' if there[0] else 'B'} has {what}.parquet.")
        if not all(there):
            continue
        ours, theirs = (
            {(row["model"], row["length"]): row for row in read_table(path, kind).to_pylist()}
            for path in paths
        )
        moved: dict[tuple[str, str], None] = {}
        for point in ours:
            if point not in theirs:
                continue
            was, now = ours[point], theirs[point]
            where = f"{point[0]} at {point[1]} tokens"
            if was["status"] != now["status"]:
                statuses.append(StatusChange(f"{what} of {where}", was["status"], now["status"]))
            if was["batch_size"] != now["batch_size"]:
                notes.append(
                    f"{what} of {where}: batches of {was['batch_size']} in A, {now['batch_size']} "
                    "in B, not compared."
                )
                continue
            for figure in FIGURES:
                if was.get(figure) and now.get(figure):
                    pair = float(was[figure]), float(now[figure])
                    ratios.append(Ratio(*point, figure, *pair, pair[1] / pair[0]))
                    moved[was["device"], now["device"]] = None
        notes += [
            f"{what}: measured on {was} in A, on {now} in B; the ratios compare these, too."
            for was, now in moved
            if was != now
        ]
    return ratios, statuses, notes
