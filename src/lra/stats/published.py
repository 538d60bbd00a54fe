"""Published values (config/reference/): reading them, and whether ours reproduce them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lra.core.errors import LRAError, shown
from lra.core.files import text_of
from lra.stats.summary import FEWEST, MARGIN, Outcome, above_chance

PAPER = "Tay et al. 2020"
WHOSE = {  # accuracy, by file
    "scores.csv": f"the paper's accuracy ({PAPER}, Table 1)",
    "standard.csv": "that of reproductions with the same small encoder (mlpen/Nystromformer)",
    "authors.csv": "that of the mechanism's authors, or as a later paper quotes them",
}
AVERAGED = {"listops", "text", "retrieval", "image", "pathfinder"}  # tasks of the paper's averages
# The paper's Transformer materialises its attention matrix. It has the accuracy of both of ours,
# for they compute the same function, but only the speed of the materialised one.
MATERIALISED = "transformer-materialised"
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
LEVEL = 90.0  # percent: of the interval of an equivalence test at 5 %
NEAR, CHANCE, OUTSIDE = f"within {MARGIN:g} points", "both at chance", f"by over {MARGIN:g} points"
FEW, WIDE = f"fewer than {FEWEST} seeds", f"{LEVEL:g} % interval too wide"
ONE = "only one of the two is at chance"
MIXED = "some seeds at chance, others not"
SIGNS = {"reproduced": "≈", "above": "↑", "below": "↓", "inconclusive": "?"}
PUBLISHED_DATA = re.compile(r"-(official|release|[1-4]000)$")

Line = dict[str, str]
Verdict = Literal["reproduced", "above", "below", "inconclusive", "not comparable"]


@dataclass(frozen=True)
class Replication:
    verdict: Verdict | None  # None where nothing was published
    why: str

    @property
    def sign(self) -> str:
        return SIGNS.get(self.verdict, "")


def whose(path: Path) -> str:
    """What the accuracies of a csv are, in words."""
    return WHOSE.get(path.name, path.name)


def scores(path: Path) -> dict[str, Line]:
    """Lines of scores.csv by the name of our model; raises LRAError where it is no such file."""
    columns = {"model", "avg"} | AVERAGED
    lines = {line["model"]: line for line in _lines(path, columns, {"avg", "pathx"} | AVERAGED)}
    return lines | ({MATERIALISED: lines["transformer"]} if "transformer" in lines else {})


def efficiency(path: Path) -> dict[tuple[str, int], Line]:
    """Lines of efficiency.csv by the name of our model and the length in tokens.

    Raises LRAError where it is no such file.
    """
    ours = {"transformer": MATERIALISED}
    numbers = {"length", "steps_per_s", "speedup", "peak_memory_gb"}
    return {
        (ours.get(line["model"], line["model"]), int(line["length"])): line
        for line in _lines(path, {"model"} | numbers, numbers)
    }


def value(line: Line, column: str) -> float | str | None:
    """A number, FAIL, or None where nothing was published."""
    text = line.get(column) or None
    return float(text) if text not in (None, "FAIL") else text


def remarks(path: Path, models: Iterable[str], columns: Iterable[str]) -> list[Line]:
    """Lines of remarks.csv, which lies beside `path`, on its values of these models and columns.

    A note without a model or column is on all. Raises LRAError where there is no such file.
    """
    known = {"", *models, *columns}
    lines = _lines(path.with_name("remarks.csv"), {"file", "model", "column", "note"})
    return [
        line
        for line in lines
        if line["file"] == path.name and line["model"] in known and line["column"] in known
    ]


def own_variants(rows: Iterable[dict]) -> set[str]:
    """Tasks of scores.parquet on a data set of our own, which compare with nothing published.

    A published data set has its task's name, or that with -official, -release or a length.
    """
    return {
        row["task"]
        for row in rows
        if PUBLISHED_DATA.sub("", row["dataset"]) != (row.get("variant_of") or row["task"])
    }


def replication(
    found: Outcome, published: float | str | None, n_test: int | None, chance: float | None
) -> Replication:
    """Our accuracy against a published one that compares; it is in percent, FAIL or None.

    An equivalence test (two one-sided t tests at 5 %). Reproduced: the 90 % interval of our mean
    over seeds lies within 2 points of the published value; or neither is above chance, and our
    interval ends at most 2 points above chance or the published value. Above, below: the interval
    lies wholly outside. Else inconclusive, as with fewer than 3 seeds, where some seeds stay at
    chance and others do not, or where only one of the two values is at chance. docs/verdicts.md
    says what this can show.

    The published value counts as exact; for chance it is tested as if measured on our `n_test`
    examples. An average over tasks has no `n_test` and no `chance`.
    """
    if published is None:
        return Replication(None, "")
    if not found.finished:
        return Replication("not comparable", f"ours is {found.verdict}")
    if found.accuracy.n < FEWEST:
        return Replication("inconclusive", FEW)
    low, high = found.accuracy.interval(LEVEL)
    number = chance if isinstance(published, str) else published
    failed = isinstance(published, str) or (
        n_test is not None and not above_chance(published, n_test, chance)
    )
    least = -math.inf if failed else number - MARGIN
    most = (max(number, chance) if failed else number) + MARGIN
    if low > most or high < least:
        return Replication("above" if low > most else "below", OUTSIDE)
    if found.mixed:
        return Replication("inconclusive", MIXED)
    if failed != (found.verdict == "FAIL"):
        return Replication("inconclusive", ONE)
    if least <= low and high <= most:
        return Replication("reproduced", CHANCE if failed else NEAR)
    return Replication("inconclusive", WIDE)


def _lines(path: Path, columns: set[str], numbers: Iterable[str] = ()) -> list[Line]:
    """The lines of a table with these columns; those of `numbers` hold numbers, FAIL or nothing."""
    lines = list(csv.DictReader(text_of(path).splitlines()))
    if missing := columns - set(lines[0] if lines else ()):
        raise LRAError(f"{path}: no column {', '.join(sorted(missing))}, or no line below it")
    for line in lines:
        for column in numbers:
            if (text := line.get(column)) and text != "FAIL" and not NUMBER.fullmatch(text):
                about = f"{line['model']}: {column}"
                raise LRAError(f"{path}: {about}: {shown(text)} is neither a number nor FAIL")
    return lines
